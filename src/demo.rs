//! The main job on an embedded default: real models on real data, real sockets, a real repository. A good candidate is promoted
//! by commits; one with a training bug is caught by its accuracy alone, clamped, and rolled back by a commit.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it plays the world around Coalmine: files, clocks, tasks and the terminal"
)]

mod delivery;
mod digits;
mod http;
mod model;
mod server;
mod story;
mod traffic;
mod view;

use crate::app::{self, App, Settings};
use anyhow::{Context as _, anyhow};
use delivery::{FILE, Repo};
use digits::Digit;
use model::{Model, Preparation};
use server::Fault;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};
use story::{Stage, Variant, manifest};
use tokio::{runtime, sync::watch, task::LocalSet};
use traffic::{Counts, Traffic};
use view::View;

/// What kind of candidate the team commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Better than stable.
    Good,
    /// Trained on pictures that are prepared otherwise than those it is asked about.
    Bad,
    /// Good, and slow.
    Slow,
    /// Good, and one request in twenty fails.
    Broken,
}

impl Act {
    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Slow => "slow",
            Self::Broken => "broken",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Good => "trained on all pictures",
            Self::Bad => "trained on pictures from the new resizer",
            Self::Slow => "with a larger feature extractor",
            Self::Broken => "on the new runtime",
        }
    }

    fn fault(self) -> Fault {
        match self {
            Self::Good | Self::Bad => Fault::None,
            Self::Slow => Fault::Slow(Duration::from_millis(3)),
            Self::Broken => Fault::Broken(20),
        }
    }
}

/// What to play.
#[derive(Clone, Debug)]
pub struct Options {
    /// One after the other.
    pub acts: Vec<Act>,
    /// Of the callers' dice.
    pub seed: u64,
    /// Requests a second.
    pub rate: u32,
    /// Where the repository and the state go; they are kept there.
    pub home: PathBuf,
    /// Go on serving after the last act, until Ctrl-C.
    pub serve: bool,
}

/// Plays it. Whether every act ended as it should.
///
/// # Errors
/// If it cannot be played: no git, no free port, a directory that cannot be written.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let (training, held_out) = digits::load();
    let (stop, stopping) = watch::channel(false);
    let repo = Repo::new(&options.home)?;
    println!("training the models; the repository is {}", repo.path("remote.git").display());
    let (models, variants) = serve_models(&options.acts, &training, &held_out, stopping.clone())?;
    let (first, _) = variants.split_first().context("no model is served")?;
    repo.commit(&manifest(first, None)?, &format!("models/digits: {}, {}", first.name(), first.words))?;
    repo.deliver(&repo.tip()?.context("the branch is empty")?.commit)?;
    let app = app::start(&settings(&repo)?)?;
    println!("Coalmine serves http://{} and shows http://{}/v1/routes", app.data, app.admin);
    let counts = Counts::default();
    let traffic =
        Traffic { data: app.data, admin: app.admin, rate: options.rate, seed: options.seed, counts: counts.clone() };
    let callers = thread(move || async move { traffic.run(Arc::new(held_out), stopping).await });
    let told = block_on(tell(options, &app, repo, counts, &variants));
    stop.send_replace(true);
    let called = callers.join().map_err(|_| anyhow!("the callers panicked"))?;
    app.drain();
    app.join();
    models.join().map_err(|_| anyhow!("the model servers panicked"))??;
    called.context("callers")?;
    told?
}

/// The acts, and the summary.
async fn tell(options: &Options, app: &App, repo: Repo, counts: Counts, variants: &[Variant]) -> anyhow::Result<bool> {
    let admin = http::Connection::open(app.admin).await?;
    let tip = repo.tip()?;
    let mut stage = Stage { repo, admin, counts, view: View::new(), tip };
    let mut scenes = Vec::new();
    let (mut stable, candidates) = variants.split_first().context("no model is served")?;
    for (act, candidate) in options.acts.iter().zip(candidates) {
        let scene = stage.play(*act, stable, candidate).await?;
        if scene.ending == story::Ending::Promoted {
            stable = candidate;
        }
        scenes.push(scene);
    }
    if options.serve {
        stage.view.say("serving until Ctrl-C");
        tokio::select! {
            ended = async { loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                if let Err(error) = stage.follow() { break error; }
            }} => return Err(ended),
            pressed = tokio::signal::ctrl_c() => pressed?,
        }
    }
    stage.view.end();
    println!("\ngit log\n{}", stage.repo.log()?);
    let rollback = stage.repo.rollback()?;
    if !rollback.is_empty() {
        println!("the rollback's evidence\n{}", indented(&rollback));
    }
    for scene in &scenes {
        println!("{}", scene.lines());
    }
    println!("failed requests: {}", stage.counts.failed());
    Ok(scenes.len() == options.acts.len() && scenes.iter().all(|scene| scene.ending == scene.act.wanted()))
}

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("    {line}\n")).collect()
}

/// Trains the stable model and one per act, and serves them all from one thread.
fn serve_models(
    acts: &[Act],
    training: &[Digit],
    held_out: &[Digit],
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<(JoinHandle<anyhow::Result<()>>, Vec<Variant>)> {
    let few = training.get(..300).unwrap_or(training);
    let stable = (Model::train(few, 60, Preparation::Scaled), Fault::None, "trained on the first 300 pictures");
    let good = Model::train(training, 200, Preparation::Scaled);
    let candidate = |act: &Act| match act {
        Act::Bad => (Model::train(training, 60, Preparation::HalfPixelOff), act.fault(), act.words()),
        Act::Good | Act::Slow | Act::Broken => (good.clone(), act.fault(), act.words()),
    };
    let all: Vec<_> = std::iter::once(stable).chain(acts.iter().map(candidate)).collect();
    for (version, (model, ..)) in (1..).zip(&all) {
        let right = held_out.iter().filter(|d| model.predict(&d.pixels) == usize::from(d.label)).count();
        println!(
            "  v{version}: {} right on {} held-out pictures",
            view::percent(right as u64, held_out.len() as u64),
            held_out.len()
        );
    }
    let (ready, started) = mpsc::channel();
    let servers = thread(move || async move {
        for (version, (model, fault, words)) in (1_u32..).zip(all) {
            let address: SocketAddr = server::serve(&version.to_string(), model, fault).await?;
            let _ = ready.send(Variant { version, address, words: words.to_owned() });
        }
        drop(ready);
        let _ = stop.wait_for(|stop| *stop).await;
        Ok(())
    });
    Ok((servers, started.iter().collect()))
}

fn settings(repo: &Repo) -> anyhow::Result<Settings> {
    let path = |path: &Path| path.display().to_string().replace('\'', "''");
    let signing = if repo.signed { format!(", signing_key: '{}'", path(&repo.key())) } else { String::new() };
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nthreads: 1\nroutes: '{}'\nstate: {{ dir: '{}' }}\njudge: {{ interval: 200ms }}\n\
         drain: {{ lame_duck: 0s, limit: 5s }}\ngit: {{ remote: '{}', branch: main, path: {FILE}{signing} }}\n",
        path(&repo.path("mount")),
        path(&repo.path("state")),
        path(&repo.path("remote.git")),
    );
    let refused = |problems: Vec<String>| anyhow!("the demo's settings are refused: {}", problems.join("; "));
    Settings::read(&text, &[]).map_err(|problems| refused(problems.iter().map(|p| p.one_line("settings")).collect()))
}

/// A thread with a runtime of its own.
fn thread<T: Send + 'static, F: Future<Output = anyhow::Result<T>> + 'static>(
    work: impl FnOnce() -> F + Send + 'static,
) -> JoinHandle<anyhow::Result<T>> {
    std::thread::spawn(move || block_on(work())?)
}

fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(LocalSet::new().block_on(&runtime, work))
}
