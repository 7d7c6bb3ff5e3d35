//! The files under `deploy/`: the compose file on a real Docker daemon, the units as systemd reads
//! them, the manifests against the schemas of Kubernetes.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode};
use serde_json::json;
use support::{
    docker::{Docker, DockerOptions},
    process::free_port,
};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::sleep};

/// The base image of the last stage of our Dockerfile; made on the spot, there is no registry.
const BASE: &str = "gcr.io/distroless/cc-debian12:nonroot";
const IMAGE: &str = "quorate:test";
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest time without an acknowledged write when a container is killed.
const GAP_MAX: Duration = Duration::from_secs(2);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the distroless image has of a Debian: the C and C++ libraries, and a user.
fn import_base(docker: &Docker, dir: &Path) {
    let image = dir.join("base");
    for name in ["etc", "tmp", "home/nonroot"] {
        fs::create_dir_all(image.join(name)).unwrap();
    }
    fs::set_permissions(image.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let user = "root:x:0:0:root:/root:/none\nnonroot:x:65532:65532:nonroot:/home/nonroot:/none\n";
    fs::write(image.join("etc/passwd"), user).unwrap();
    let libraries = run(Command::new("ldd").arg(env!("CARGO_BIN_EXE_quorate")));
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let target = image.join(library.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(library, target).unwrap();
    }
    let archive = dir.join("base.tar");
    run(Command::new("tar").arg("-C").arg(&image).arg("-cf").arg(&archive).arg("."));
    docker.docker(&["import", archive.to_str().unwrap(), BASE]);
}

/// The last stage of the Dockerfile, around the program that was built already: building it in a
/// container would need a registry, and a quarter of an hour.
fn build_image(docker: &Docker, dir: &Path) {
    let whole = fs::read_to_string(root().join("deploy/docker/Dockerfile")).unwrap();
    let (_, stage) = whole.rsplit_once("\nFROM ").unwrap();
    let stage = format!("FROM {stage}")
        .replace("COPY --from=build /src/target/release/quorate", "COPY quorate")
        .replace("COPY --from=build --chown=65532:65532 /data", "COPY --chown=65532:65532 data");
    assert!(!stage.contains("--from=build"), "{stage}");
    let context = dir.join("context");
    fs::create_dir_all(context.join("data")).unwrap();
    fs::write(context.join("Dockerfile"), stage).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_quorate"), context.join("quorate")).unwrap();
    let mut build = Command::new("docker");
    build.env("DOCKER_BUILDKIT", "0").args(["-H", &docker.url(), "build", "-q", "-t", IMAGE]);
    run(build.arg(context));
}

/// The compose file with a daemon, an image and ports of its own.
struct Deployment {
    docker: Docker,
    ports: [u16; 4],
    client: Client,
    _dir: TempDir,
}

impl Deployment {
    fn new() -> Self {
        let dir = TempDir::with_prefix("qdeploy-").unwrap();
        let docker =
            Docker::start_with(DockerOptions { is_bare: true, ..DockerOptions::default() });
        import_base(&docker, dir.path());
        build_image(&docker, dir.path());
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(4)).build().unwrap();
        Self { docker, ports: [(); 4].map(|()| free_port()), client, _dir: dir }
    }

    fn compose(&self, words: &[&str]) {
        let mut compose = Command::new("docker-compose");
        compose.env("DOCKER_HOST", self.docker.url());
        compose.env("QUORATE_CLUSTER_TOKEN", "a secret of this test");
        compose.env("QUORATE_IMAGE", IMAGE);
        for (name, port) in ["1", "2", "3", "GATEWAY"].iter().zip(self.ports) {
            compose.env(format!("QUORATE_PORT_{name}"), format!("127.0.0.1:{port}"));
        }
        let file = root().join("deploy/docker/compose.yaml");
        run(compose.arg("-f").arg(file).args(["-p", "quorate"]).args(words));
    }

    fn url(&self, at: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[at])
    }

    /// Waits until replicas are ready, as the program says and as the daemon says.
    async fn wait_ready(&self, which: &[usize]) {
        for at in which {
            let url = format!("{}/readyz", self.url(*at));
            self.until(&url, async || {
                let answer = self.client.get(&url).send().await;
                answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
            })
            .await;
            let name = format!("quorate_replica-{}_1", at + 1);
            self.until(&name, async || {
                self.docker.docker(&["inspect", "-f", "{{.State.Health.Status}}", &name])
                    == "healthy"
            })
            .await;
        }
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            let logs = || {
                let names = (1..=3).map(|id| format!("quorate_replica-{id}_1"));
                let logs =
                    names.map(|name| self.docker.try_docker(&["logs", "--tail", "5", &name]));
                logs.map(|log| format!("{log:?}\n")).collect::<String>()
            };
            assert!(Instant::now() < deadline, "{what}: not in time\n{}", logs());
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Writes one thing after another until told to stop.
struct Writer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(Vec<String>, Duration)>,
}

impl Writer {
    fn start(client: &Client, url: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (client, is_over) = (client.clone(), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let (mut written, mut longest, mut last) = (Vec::new(), Duration::ZERO, Instant::now());
            while !is_over.load(Ordering::Relaxed) {
                let name = format!("n{}", written.len());
                let request = client.post(format!("{url}/api/v1/namespaces"));
                let answer = request.json(&json!({ "namespace": name })).send().await;
                // 409: an answer to an earlier try was lost.
                let is_done = answer.is_ok_and(|answer| {
                    matches!(answer.status(), StatusCode::CREATED | StatusCode::CONFLICT)
                });
                if is_done {
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                    written.push(name);
                }
                sleep(Duration::from_millis(5)).await;
            }
            (written, longest)
        });
        Self { stop, task }
    }

    async fn stop(self) -> (Vec<String>, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_compose_file_survives_the_loss_of_any_container() {
    let site = Deployment::new();
    site.compose(&["up", "-d", "--no-build"]);
    site.wait_ready(&[0, 1, 2]).await;
    for name in ["quorate_replica-1_1", "quorate_gateway_1"] {
        let format = "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}";
        let shown = site.docker.docker(&["inspect", "-f", format, name]);
        assert_eq!(shown, "65532:65532 true [ALL]", "{name}");
    }
    let writer = Writer::start(&site.client, site.url(3));
    for id in 1..=3_usize {
        sleep(Duration::from_secs(1)).await;
        site.docker.docker(&["kill", &format!("quorate_replica-{id}_1")]);
        sleep(Duration::from_secs(3)).await;
        site.compose(&["up", "-d", "--no-build"]);
        site.wait_ready(&[0, 1, 2]).await;
    }
    let (written, longest) = writer.stop().await;
    assert!(written.len() > 100, "{}", written.len());
    assert!(longest < GAP_MAX, "nothing was acknowledged for {longest:?}");
    for at in 0..3 {
        let url = format!("{}/api/v1/namespaces?consistency=linearizable", site.url(at));
        let answer = site.client.get(url).send().await.unwrap().text().await.unwrap();
        let lost: Vec<_> =
            written.iter().filter(|name| !answer.contains(&format!("\"{name}\""))).collect();
        assert!(lost.is_empty(), "replica {} does not have {lost:?}", at + 1);
    }
    site.compose(&["down", "-v", "-t", "5"]);
}

#[test]
fn systemd_takes_the_units() {
    let dir = TempDir::with_prefix("qunits-").unwrap();
    let mut names = Vec::new();
    for file in fs::read_dir(root().join("deploy/systemd")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "service") {
            // The program is not installed where the unit has it.
            let text = fs::read_to_string(&path).unwrap();
            let program = env!("CARGO_BIN_EXE_quorate");
            let copy = dir.path().join(path.file_name().unwrap());
            fs::write(&copy, text.replace("/usr/local/bin/quorate", program)).unwrap();
            names.push(copy);
        }
    }
    assert!(names.len() >= 2, "{names:?}");
    run(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&names));
    let config = root().join("deploy/systemd/quorate.toml");
    run(Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["config", "check", "--config"])
        .arg(config));
}

/// Where `scripts/setup test` puts programs from PyPI.
fn tool(name: &str) -> PathBuf {
    let target = PathBuf::from(env!("CARGO_BIN_EXE_quorate"));
    let target = target.parent().and_then(Path::parent).unwrap();
    let path = target.join("tools/bin").join(name);
    assert!(path.exists(), "{} is missing: run scripts/setup test", path.display());
    path
}

#[test]
fn kubernetes_takes_the_manifests() {
    let dir = root().join("deploy/kubernetes");
    let listed = fs::read_to_string(dir.join("kustomization.yaml")).unwrap();
    let mut files = Vec::new();
    for file in fs::read_dir(&dir).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if name != "kustomization.yaml" {
            assert!(
                listed.contains(&format!("- {name}")),
                "kustomization.yaml does not name {name}"
            );
            files.push(dir.join(name));
        }
    }
    assert_eq!(files.len(), listed.matches("  - ").count() - 1, "names files, and one image");
    run(Command::new(tool("kubernetes-validate")).arg("--strict").args(&files));
}
