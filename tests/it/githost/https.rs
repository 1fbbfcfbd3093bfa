//! nginx with TLS and passwords before fcgiwrap and git's http-backend, over unix sockets.

use super::{Door, program, wait_for_socket};
use crate::certs::Ca;
use std::{
    fs, io,
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

pub(in super::super) struct HttpsHost {
    pub(in super::super) door: Door,
    /// Who vouches for it.
    pub(in super::super) ca: PathBuf,
    dir: tempfile::TempDir,
    servers: [Child; 2],
}

impl HttpsHost {
    /// Serves the repositories in `root` to the user `robot`.
    pub(in super::super) fn new(root: &Path, password: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let ca = Ca::new("the team's own");
        let issued = ca.issue(&["localhost"]);
        fs::write(at("ca.crt"), ca.0.pem()).unwrap();
        fs::write(at("tls.crt"), issued.cert).unwrap();
        fs::write(at("tls.key"), issued.key).unwrap();
        fs::write(at("users"), format!("robot:{{PLAIN}}{password}\n")).unwrap();
        let exec = String::from_utf8(Command::new("git").arg("--exec-path").output().unwrap().stdout).unwrap();
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events {{}}
http {{
  access_log off; client_body_temp_path body; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server {{
    listen unix:tls.sock ssl; ssl_certificate tls.crt; ssl_certificate_key tls.key;
    client_max_body_size 0; auth_basic git; auth_basic_user_file users;
    location / {{
      fastcgi_pass unix:cgi.sock;
      fastcgi_param SCRIPT_FILENAME {}/git-http-backend;
      fastcgi_param GIT_PROJECT_ROOT {};
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param GIT_PROTOCOL $http_git_protocol;
      fastcgi_param PATH_INFO $uri;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param REMOTE_USER $remote_user;
      fastcgi_param REMOTE_ADDR 127.0.0.1;
    }}
  }}
}}
",
            exec.trim(),
            root.display()
        )
        .replace("unix:", &format!("unix:{}/", dir.path().display()));
        fs::write(at("nginx.conf"), config).unwrap();
        let mut cgi = Command::new(program("fcgiwrap"));
        cgi.arg("-s").arg(format!("unix:{}", at("cgi.sock").display()));
        let cgi = cgi.stdin(Stdio::null()).spawn().unwrap();
        let mut nginx = Command::new(program("nginx"));
        nginx.arg("-e").arg("stderr").arg("-p").arg(dir.path()).arg("-c").arg(at("nginx.conf"));
        let nginx = nginx.stdin(Stdio::null()).spawn().unwrap();
        let socket = at("tls.sock");
        wait_for_socket(&at("cgi.sock"));
        wait_for_socket(&socket);
        let door = Door::new(move |tcp| {
            let Ok(unix) = UnixStream::connect(&socket) else { return };
            let (mut from, mut to) = (tcp.try_clone().unwrap(), unix.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            thread::spawn(move || {
                let _ = io::copy(&mut &unix, &mut &tcp);
                let _ = tcp.shutdown(Shutdown::Write);
            });
        });
        Self { door, ca: at("ca.crt"), dir, servers: [nginx, cgi] }
    }

    pub(in super::super) fn url(&self, name: &str) -> String {
        format!("https://localhost:{}/{name}", self.door.address.port())
    }

    /// From now on this is the password.
    pub(in super::super) fn password(&self, password: &str) {
        fs::write(self.dir.path().join("users"), format!("robot:{{PLAIN}}{password}\n")).unwrap();
    }
}

impl Drop for HttpsHost {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
