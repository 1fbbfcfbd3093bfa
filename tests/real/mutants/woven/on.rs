//! Which mutant is on: the number in the environment's `WOVEN_ON`. With `WOVEN_SEEN`, the path of a file, none is, and every mutant that is
//! come by writes its number there, once.

use std::{
    fs::File,
    io::Write,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

const NONE: u32 = u32::MAX;
const SEEN: u32 = u32::MAX - 1;
const UNKNOWN: u32 = u32::MAX - 2;

static STATE: AtomicU32 = AtomicU32::new(UNKNOWN);

/// Whether this mutant is on.
#[inline(always)]
pub fn on(number: u32) -> bool {
    let state = STATE.load(Relaxed);
    if state < UNKNOWN { state == number } else { state != NONE && rarely(number) }
}

#[cold]
fn rarely(number: u32) -> bool {
    static FILE: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    static KNOWN: [AtomicBool; 1 << 14] = [const { AtomicBool::new(false) }; 1 << 14];
    let file = FILE.get_or_init(|| {
        let file = std::env::var_os("WOVEN_SEEN").map(|path| Mutex::new(File::create(path).unwrap()));
        let number = std::env::var("WOVEN_ON").map_or(NONE, |number| number.parse().unwrap());
        STATE.store(if file.is_some() { SEEN } else { number }, Relaxed);
        file
    });
    let Some(file) = file else { return on(number) };
    if !KNOWN[number as usize].swap(true, Relaxed) {
        writeln!(file.lock().unwrap(), "{number}").unwrap();
    }
    false
}
