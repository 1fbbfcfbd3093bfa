//! A repository on this machine, a person who commits to it, and its delivery to a mounted directory.

use super::support::{settings, start_with};
use coalmine::config::settings::Settings;
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

const FILE: &str = "prod/routes.yaml";

/// A bare repository, a person's clone of it, and the directory that the branch is delivered to.
pub(super) struct Repo {
    home: tempfile::TempDir,
}

impl Repo {
    /// With `text` as the routes file on `main`.
    pub(super) fn new(text: &str) -> Self {
        let repo = Self { home: tempfile::tempdir().unwrap() };
        for dir in ["bare.git", "mount", "state"] {
            fs::create_dir(repo.path(dir)).unwrap();
        }
        repo.git("bare.git", &["init", "--quiet", "--bare", "--initial-branch=main", "."]);
        repo.git(".", &["clone", "--quiet", "bare.git", "person"]);
        fs::create_dir(repo.path("person/prod")).unwrap();
        repo.person(text, "the first");
        repo.deliver();
        repo
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    #[track_caller]
    pub(super) fn git(&self, dir: &str, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.current_dir(self.path(dir)).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        git.args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "init.defaultBranch=main"]);
        let output = git.args(arguments).output().expect("git must be installed");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A person commits a file and pushes it.
    pub(super) fn person(&self, text: &str, subject: &str) {
        if subject != "the first" {
            self.git("person", &["pull", "--quiet", "--ff-only"]);
        }
        fs::write(self.path("person").join(FILE), text).unwrap();
        self.git("person", &["add", "--all"]);
        self.git("person", &["commit", "--quiet", "-m", subject]);
        self.git("person", &["push", "--quiet", "origin", "HEAD:main"]);
    }

    /// A person commits another file.
    pub(super) fn file(&self, path: &str, text: &str) {
        self.git("person", &["pull", "--quiet", "--ff-only"]);
        let file = self.path("person").join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        self.git("person", &["add", "--all"]);
        self.git("person", &["commit", "--quiet", "-m", "another file"]);
        self.git("person", &["push", "--quiet", "origin", "HEAD:main"]);
    }

    pub(super) fn tip(&self) -> String {
        self.git("bare.git", &["show", &format!("main:{FILE}")])
    }

    pub(super) fn message(&self) -> String {
        self.git("bare.git", &["log", "-1", "--format=%B", "main"])
    }

    pub(super) fn commits(&self) -> usize {
        self.git("bare.git", &["log", "--format=%h", "main"]).lines().count()
    }

    /// As Argo CD and the kubelet would, only at once: the routes file of the tip becomes the mounted one.
    pub(super) fn deliver(&self) {
        let text = self.tip();
        let inner = text.split_once("  routes.yaml: |\n").map(|(_, block)| {
            block.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect()
        });
        fs::write(self.path("mount/.new"), inner.unwrap_or(text)).unwrap();
        fs::rename(self.path("mount/.new"), self.path("mount/routes.yaml")).unwrap();
    }

    pub(super) fn start(&self, more: &str) -> coalmine::app::App {
        self.start_with(more, "")
    }

    /// `more` in `git`, and more settings.
    pub(super) fn start_with(&self, more: &str, settings_text: &str) -> coalmine::app::App {
        start_with(self.settings(more, settings_text))
    }

    /// What [`Self::start_with`] starts with.
    pub(super) fn settings(&self, more: &str, settings_text: &str) -> Settings {
        let remote = self.path("bare.git").display().to_string();
        let git =
            format!("git: {{ remote: '{remote}', path: {FILE}, branch: main, mode: push{more} }}\n{settings_text}");
        settings(&git, &self.path("mount"), &self.path("state"))
    }

    /// A hook of the bare repository.
    pub(super) fn hook(&self, name: &str, script: &str) {
        let path = self.path("bare.git/hooks").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}
