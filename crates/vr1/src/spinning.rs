use std::env;
use std::hint;
use std::time::{Duration, Instant};

/// How long a thread looks for work before it sleeps. Waking one takes some microseconds, of which a step of the embedded model
/// has thousands: at 35 µs an idle machine is 8 % slower than with OpenMP's own milliseconds, at 115 µs it is as fast.
const SPIN: Duration = Duration::from_micros(115);

/// Starts the program anew with OpenMP threads that soon sleep when they wait, unless the environment says how they wait.
///
/// libtorch's threads spin for milliseconds at the end of each operator. Beside other busy programs that is what a time slice
/// lasts: a thread waits in vain for another that has no core. How long they spin is read from the environment when libtorch is
/// loaded, before `main`; so it is set (`GOMP_SPINCOUNT`) and the program replaces itself, with the same arguments and the same
/// process id. Call it first. A program that calls it not runs as well, and can be given the setting from outside.
///
/// Where it can't be done the program goes on as it is. Only Linux has this OpenMP.
pub fn spin_briefly() {
    #[cfg(target_os = "linux")]
    if ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"].iter().all(|name| env::var_os(name).is_none()) {
        use std::os::unix::process::CommandExt;
        let mut arguments = env::args_os();
        if let (Ok(program), Some(name)) = (env::current_exe(), arguments.next()) {
            let mut again = std::process::Command::new(program);
            // It comes back with an error, or not at all.
            let error = again.arg0(name).args(arguments).env("GOMP_SPINCOUNT", spins(SPIN).to_string()).exec();
            tracing::debug!("OpenMP's threads go on spinning: {error}");
        }
    }
}

/// How many looks a thread takes in such a time; a look is a `pause`, which lasts from 5 ns to 50 ns by the make of the processor.
fn spins(time: Duration) -> u128 {
    const LOOKS: u32 = 1000;
    // The shortest of a few, for a thread can lose its core in any of them.
    let took = (0..5).map(|_| {
        let start = Instant::now();
        (0..LOOKS).for_each(|_| hint::spin_loop());
        start.elapsed()
    });
    let shortest = took.min().unwrap_or(time).as_nanos().max(1);
    time.as_nanos() * u128::from(LOOKS) / shortest
}
