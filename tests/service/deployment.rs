//! The files in `docker/` fit the program: paths exist, YAML and JSON can be read, ports are the defaults, and systemd
//! understands the unit.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

fn docker() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker")
}

fn read(path: &str) -> String {
    fs::read_to_string(docker().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn documents(path: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files below a folder whose names end like this.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let each = paths.flat_map(|path| match path.is_dir() {
        true => files(&path, ending),
        false => vec![path],
    });
    each.filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect()
}

/// The instruction of the Dockerfile's last stage with this name.
fn instruction(name: &str) -> String {
    let dockerfile = read("Dockerfile").replace("\\\n", " ");
    let (_, last) = dockerfile
        .rsplit_once("FROM scratch")
        .expect("a stage from scratch");
    let mut lines = last.lines();
    let line = lines.find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name}"))
        .trim()
        .to_owned()
}

#[test]
fn yaml_and_json_can_be_read() {
    let yaml = files(&docker(), ".yaml");
    assert!(yaml.len() > 5, "{yaml:?}");
    for path in yaml {
        let found = YamlLoader::load_from_str(&fs::read_to_string(&path).unwrap());
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            !found.is_empty() && found.iter().all(|it| it.as_hash().is_some()),
            "{path:?}"
        );
    }
    for path in files(&docker(), ".json") {
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(
            dashboard["panels"].as_array().unwrap().len() > 10,
            "{path:?}"
        );
    }
}

#[test]
fn the_image_is_the_program_without_root_and_with_the_default_ports() {
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains("crt-static"));
    assert_eq!(instruction("EXPOSE"), "5672 5671 15672");
    assert_eq!(instruction("USER"), "10001:10001");
    assert_eq!(instruction("VOLUME"), "/var/lib/leveret");
    assert_eq!(instruction("STOPSIGNAL"), "SIGTERM");
    assert_eq!(instruction("ENTRYPOINT"), r#"["/usr/local/bin/leveret"]"#);
    assert!(
        instruction("HEALTHCHECK").ends_with(r#"CMD ["/usr/local/bin/leveret", "healthcheck"]"#)
    );
    assert!(instruction("ENV").contains("LEVERET_DATA_DIR=/var/lib/leveret"));
    let shown = Command::new(env!("CARGO_BIN_EXE_leveret"))
        .args(["config", "show"])
        .env_clear()
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    for port in ["[::]:5672", "[::]:15672"] {
        assert!(shown.contains(port), "{port}");
    }
    // The profile that it is built with.
    let manifest = fs::read_to_string(docker().join("../Cargo.toml")).unwrap();
    assert!(manifest.contains("[profile.dist]"));
}

#[test]
fn compose_names_files_that_exist() {
    let compose = documents("compose.yaml").remove(0);
    let services = &compose["services"];
    let build = &services["broker"]["build"];
    let context = docker().join(build["context"].as_str().unwrap());
    assert!(
        context
            .join(build["dockerfile"].as_str().unwrap())
            .is_file()
    );
    let mut mounted = 0;
    for (_, service) in services.as_hash().unwrap() {
        for volume in service["volumes"].as_vec().into_iter().flatten() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            if source.starts_with('.') {
                assert!(docker().join(source).exists(), "{source}");
                mounted += 1;
            } else {
                assert!(
                    !compose["volumes"].as_hash().unwrap()[&Yaml::from_str(source)].is_badvalue()
                );
            }
        }
    }
    assert!(mounted >= 3, "{mounted}");
    let ports = services["broker"]["ports"].as_vec().unwrap();
    let ports: Vec<_> = ports.iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(ports, ["5672:5672", "15672:15672"]);
    let targets = documents("prometheus/prometheus.yaml");
    let target = &targets[0]["scrape_configs"][0]["static_configs"][0]["targets"][0];
    assert_eq!(target.as_str(), Some("broker:15672"));
}

#[test]
fn kubernetes_has_every_kind_and_the_ports_have_names() {
    let mut kinds = Vec::new();
    for path in files(&docker().join("kubernetes"), ".yaml") {
        let found = YamlLoader::load_from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        kinds.extend(
            found
                .iter()
                .map(|it| it["kind"].as_str().unwrap().to_owned()),
        );
    }
    for kind in [
        "StatefulSet",
        "Service",
        "PodDisruptionBudget",
        "ServiceMonitor",
    ] {
        assert!(kinds.iter().any(|it| it == kind), "{kind}: {kinds:?}");
    }
    for resource in documents("kubernetes/kustomization.yaml")[0]["resources"]
        .as_vec()
        .unwrap()
    {
        let file = docker().join("kubernetes").join(resource.as_str().unwrap());
        assert!(file.is_file(), "{file:?}");
    }
    let set = documents("kubernetes/statefulset.yaml").remove(0);
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    let ports = container["ports"].as_vec().unwrap().iter();
    let ports: Vec<_> = ports
        .map(|it| {
            (
                it["name"].as_str().unwrap(),
                it["containerPort"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(ports, [("amqp", 5672), ("amqps", 5671), ("http", 15672)]);
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert!(container[probe].as_hash().is_some(), "{probe}");
    }
    let mount = &container["volumeMounts"][0]["mountPath"];
    assert_eq!(mount.as_str(), Some("/var/lib/leveret"));
}

#[test]
fn systemd_understands_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("leveret.service");
    let text = read("leveret.service");
    assert!(text.contains("\nType=notify\n"));
    // It wants the program to be there.
    let text = text.replace("/usr/local/bin/leveret", env!("CARGO_BIN_EXE_leveret"));
    fs::write(&unit, text).unwrap();
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&unit)
        .output();
    let verified = verified.expect("systemd-analyze: apt-get install systemd");
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    // Other units of the machine may be at fault.
    let ours: Vec<_> = said
        .lines()
        .filter(|line| line.contains("leveret"))
        .collect();
    assert!(ours.is_empty(), "{said}");
    assert!(verified.status.success(), "{said}");
}
