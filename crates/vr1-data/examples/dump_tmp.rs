use vr1_data::*;
fn main(){ for t in [Task::Spatial, Task::Counting, Task::Referring, Task::Staged, Task::Attributes, Task::Caption] { let s=Scenes::new(t, Split::Pretrain, 1, 100); for i in 0..4 { let x=s.get(i).unwrap(); println!("== {:?}\nQ: {}\nA: {}\n{}", t, x.question, x.solution, serde_json::to_string(&x.fields).unwrap()); for t in &x.turns { println!("  [{}] {} => {}", t.name, t.prompt, t.answer);} } }
let t0=std::time::Instant::now(); let s=Scenes::new(Task::Spatial, Split::Pretrain, 1, 1000); for i in 0..1000 { s.get(i).unwrap(); } println!("{:?}/1000", t0.elapsed()); }
