//! Any text is a program or an error, and a program's formatted text is a program that formats to itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vr1_reward::{Program, Registry, format_program};

fuzz_target!(|text: &str| {
    let registry = Registry::default();
    let _ = Program::parse(text, &registry);
    // Quotes, so that the expression parser is reached even where the YAML would not be one.
    let quoted: String = text.chars().filter(|c| !c.is_control()).collect::<String>().replace('\'', "''");
    let yaml = format!("terms:\n  a: '{quoted}'\ntotal: a\n");
    if let Ok(program) = Program::parse(&yaml, &registry) {
        let _ = program.check();
        let once = format_program("fuzz", &yaml).expect("it was read before");
        assert_eq!(format_program("fuzz", &once).as_ref(), Ok(&once));
    }
});
