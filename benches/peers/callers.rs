//! Callers of our own, where wrk and h2load have none: a fixed rate, event streams, connections that do nothing.

use super::{Done, backend::EVENTS};
use std::{
    cell::{Cell, RefCell},
    io::{self, BufRead, BufReader, Read as _, Write as _},
    net::TcpStream,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::{LocalSet, spawn_local},
};

const LIMIT: Duration = Duration::from_secs(30);
/// Callers at a fixed rate: 8 of 250 a second each.
const CALLERS: u32 = 8;
const PERIOD: Duration = Duration::from_millis(4);
/// Streams at a time.
const STREAMS: usize = 100;
const BODY: &str = r#"{"id":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}"#;

fn request(user: usize) -> String {
    format!(
        "POST /v2/models/digits/infer HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nx-user: u{user}\r\n\
         content-length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
}

/// Sends a request and reads the whole answer, which must be good.
fn exchange(reader: &mut BufReader<TcpStream>, request: &str) -> Done<()> {
    reader.get_mut().write_all(request.as_bytes())?;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200") {
        return Err(format!("answered {line:?}").into());
    }
    let mut length = 0;
    while !line.trim_end().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(())
}

fn connect(port: u16) -> Done<BufReader<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(BufReader::with_capacity(1024, stream))
}

/// Prints p50 and p99 in microseconds of requests at a fixed rate.
pub(super) fn latency(port: u16, seconds: u64) -> Done<()> {
    let start = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            thread::spawn(move || -> Done<Vec<f64>> {
                let mut connection = connect(port)?;
                let mut taken = Vec::new();
                let mut next = start + PERIOD / CALLERS * caller;
                while start.elapsed() < Duration::from_secs(seconds) {
                    // Sleeping, not spinning: the backends share this core.
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                    let sent = Instant::now();
                    exchange(&mut connection, &request(taken.len() * 8 + usize::try_from(caller)?))?;
                    taken.push(sent.elapsed().as_secs_f64() * 1e6);
                    next += PERIOD;
                }
                Ok(taken)
            })
        })
        .collect();
    let mut taken = Vec::new();
    for caller in callers {
        taken.extend(caller.join().map_err(|_| "a caller panicked")??);
    }
    println!("{} {}", percentile(&mut taken, 50), percentile(&mut taken, 99));
    Ok(())
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() * percent / 100).copied().unwrap_or(f64::NAN)
}

/// Prints how many events came, and the p50 of the time to the first byte in microseconds.
pub(super) fn streams(port: u16, seconds: u64) -> Done<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let (events, first) = (Rc::new(Cell::new(0_u64)), Rc::new(RefCell::new(Vec::new())));
        let until = Instant::now() + Duration::from_secs(seconds);
        let streams: Vec<_> = (0..STREAMS)
            .map(|user| spawn_local(stream(port, user, until, Rc::clone(&events), Rc::clone(&first))))
            .collect();
        for stream in streams {
            stream.await??;
        }
        println!("{} {}", events.get(), percentile(&mut first.borrow_mut(), 50));
        Ok(())
    })
}

async fn stream(
    port: u16,
    user: usize,
    until: Instant,
    events: Rc<Cell<u64>>,
    first: Rc<RefCell<Vec<f64>>>,
) -> Done<()> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(64 * 1024);
    let mut asked = user;
    while Instant::now() < until {
        let request = format!("GET /v2/models/digits/events HTTP/1.1\r\nhost: 127.0.0.1\r\nx-user: u{asked}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        asked += STREAMS;
        let sent = Instant::now();
        let mut heard = None;
        buffer.clear();
        while !buffer.ends_with(b"0\r\n\r\n") {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(format!("a stream broke off after {} bytes", buffer.len()).into());
            }
            if heard.is_none() {
                heard = Some(sent.elapsed());
            }
        }
        if !buffer.starts_with(b"HTTP/1.1 200") {
            return Err(format!("answered {:?}", buffer.escape_ascii().to_string()).into());
        }
        first.borrow_mut().extend(heard.map(|time| time.as_secs_f64() * 1e6));
        let seen = u64::try_from(buffer.windows(6).filter(|word| word == b"data: ").count())?;
        if seen != u64::from(EVENTS) {
            return Err(format!("{seen} events of {EVENTS}").into());
        }
        events.set(events.get() + seen);
    }
    Ok(())
}

/// Opens kept connections, one request each, says so, and holds them until standard input ends.
pub(super) fn idle(port: u16, count: u64) -> Done<()> {
    let mut open = Vec::new();
    for user in 0..count {
        let mut connection = connect(port)?;
        exchange(&mut connection, &request(usize::try_from(user)?))?;
        open.push(connection);
    }
    println!("open");
    io::stdout().flush()?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
