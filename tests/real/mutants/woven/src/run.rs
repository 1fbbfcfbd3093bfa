//! Runs the tests that come by a mutant, the quick ones first, with that mutant on.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Error},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// What became of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Caught,
    /// It never ended, or took ten times as long.
    Timeout,
    Missed,
    /// No test comes by.
    Unseen,
}

/// A test's name, how long it takes, and the mutants it comes by.
struct Test {
    name: String,
    took: Duration,
    seen: Vec<usize>,
}

/// Tests that take this long together run in one process.
const BATCH: Duration = Duration::from_millis(1500);
/// A mutant that allocates without end must not take the machine with it, in KiB.
const MEMORY: u64 = 4 << 20;

/// The fate of each of `numbers`, `told` as it is known. Tests whose name begins with one of `skip` stay out.
pub fn run(
    program: &Path,
    scratch: &Path,
    numbers: &[usize],
    skip: &[String],
    told: impl Fn(usize, Fate) + Sync,
) -> io::Result<BTreeMap<usize, Fate>> {
    let jobs = thread::available_parallelism()?.get();
    let listed = Command::new(program).args(["--list", "--format", "terse"]).output()?;
    let names: Vec<String> = String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|name| !skip.iter().any(|skipped| name.starts_with(&**skipped)))
        .map(str::to_owned)
        .collect();
    eprintln!("{} tests, each alone, to see which mutants it comes by", names.len());
    let mut tests: Vec<Test> = each(&names, jobs, |place, name| {
        let file = scratch.join(format!("seen-{place}"));
        let started = Instant::now();
        let passed = tests_pass(program, &[name], ("WOVEN_SEEN", &file.to_string_lossy()), Duration::from_secs(1800))?;
        let took = started.elapsed();
        if passed != Some(true) {
            return Err(Error::other(format!("the test {name} fails without any mutant")));
        }
        let seen = fs::read_to_string(&file).unwrap_or_default().lines().filter_map(|line| line.parse().ok()).collect();
        Ok(Test { name: name.clone(), took, seen })
    })?;
    tests.sort_by_key(|test| test.took);
    let durations =
        tests.iter().map(|test| format!("{:8.3} {:5} {}\n", test.took.as_secs_f64(), test.seen.len(), test.name));
    fs::write(scratch.join("tests.txt"), durations.collect::<String>())?;
    let mut by_mutant: BTreeMap<usize, Vec<&Test>> = BTreeMap::new();
    for test in &tests {
        for number in &test.seen {
            by_mutant.entry(*number).or_default().push(test);
        }
    }
    let done = AtomicUsize::new(0);
    let fates = each(numbers, jobs, |_, number| {
        let fate = match by_mutant.get(number) {
            None => Fate::Unseen,
            Some(tests) => fate(program, *number, tests)?,
        };
        told(*number, fate);
        let done = done.fetch_add(1, Relaxed) + 1;
        if done.is_multiple_of(100) {
            eprintln!("{done} of {} mutants", numbers.len());
        }
        Ok((*number, fate))
    })?;
    Ok(fates.into_iter().collect())
}

fn fate(program: &Path, number: usize, tests: &[&Test]) -> io::Result<Fate> {
    let mut rest = tests;
    while !rest.is_empty() {
        let mut sum = Duration::ZERO;
        let fits = rest.iter().take_while(|test| {
            sum += test.took;
            sum <= BATCH
        });
        let (batch, later) = rest.split_at(fits.count().max(1));
        let names: Vec<&String> = batch.iter().map(|test| &test.name).collect();
        let took: Duration = batch.iter().map(|test| test.took).sum();
        match tests_pass(program, &names, ("WOVEN_ON", &number.to_string()), Duration::from_secs(10) + took * 10)? {
            Some(true) => rest = later,
            Some(false) => return Ok(Fate::Caught),
            None => return Ok(Fate::Timeout),
        }
    }
    Ok(Fate::Missed)
}

/// Whether these tests pass; `None` when they did not end in time.
fn tests_pass(program: &Path, names: &[&String], env: (&str, &str), limit: Duration) -> io::Result<Option<bool>> {
    let mut child = Command::new("sh")
        .args(["-c", &format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"")])
        .arg(program)
        .args(["--exact", "--test-threads", "1"])
        .args(names)
        .env(env.0, env.1)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The work on each of `things`, in order, by `jobs` threads.
fn each<T: Sync, R: Send>(
    things: &[T],
    jobs: usize,
    work: impl Fn(usize, &T) -> io::Result<R> + Sync,
) -> io::Result<Vec<R>> {
    let (next, out) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Relaxed);
                    let Some(thing) = things.get(place) else { break };
                    let result = work(place, thing);
                    out.lock().unwrap().push((place, result));
                }
            });
        }
    });
    let mut out = out.into_inner().unwrap();
    out.sort_by_key(|(place, _)| *place);
    out.into_iter().map(|(_, result)| result).collect()
}
