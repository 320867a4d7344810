//! The rules of the house: which room may name which, how large a file may be, and that what is written about the
//! program is so.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use stackup::cli;

/// The rooms by layer. A room uses its own layer and lower ones; those of layer 3 never name each other.
const LAYERS: [&[&str]; 5] = [
    &["model", "graph"],
    &["resource", "state"],
    &["engine"],
    &["stack", "aws", "kubernetes", "local", "checks", "output"],
    &["cli"],
];
const PROVIDERS: usize = 3;

/// Which rooms alone may name what.
const ONLY: [(&str, &[&str]); 7] = [
    ("kube::", &["kubernetes"]),
    ("k8s_openapi", &["kubernetes"]),
    ("aws_config::", &["aws"]),
    ("aws_sdk_", &["aws"]),
    ("process::Command", &["local"]),
    ("indicatif::", &["output"]),
    ("clap::", &["cli"]),
];

const LONGEST: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below a folder of the repository, as paths in it.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.is_file() {
            found.push(path.strip_prefix(root()).unwrap().to_owned());
        }
    }
    assert!(!found.is_empty(), "{folder} is empty");
    found.sort();
    found
}

/// A source file without its comments, since those may name anything.
fn code(path: &Path) -> String {
    let text = read(path);
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn sources() -> impl Iterator<Item = (String, PathBuf)> {
    let rust = files("src")
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"));
    rust.map(|path| {
        let room = path
            .iter()
            .nth(1)
            .unwrap()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned();
        (room, path)
    })
}

/// The rooms that a piece of code names after `crate::`.
fn named(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let Some(list) = after.strip_prefix('{') else {
            rooms.insert(word(after));
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ if begins && letter.is_alphabetic() => {
                    rooms.insert(word(&list[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    rooms
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
        .collect()
}

#[test]
fn the_names_of_a_use_are_read() {
    let code = "use crate::{\n engine::{Run, wait}, model::Plan,\n resource,\n};\ncrate::local::kinds()";
    assert_eq!(
        named(code).into_iter().collect::<Vec<_>>(),
        ["engine", "local", "model", "resource"]
    );
}

#[test]
fn a_room_names_lower_rooms_only() {
    let layer = |room: &str| LAYERS.iter().position(|rooms| rooms.contains(&room));
    let mut wrong = Vec::new();
    for (room, path) in sources().filter(|(room, _)| !["lib", "main"].contains(&room.as_str())) {
        let own = layer(&room).unwrap_or_else(|| panic!("{room} has no layer"));
        for other in named(&code(&path)) {
            // A name that is no room is a macro or an item of the crate's root; the compiler knows it.
            let Some(layer) = layer(&other).filter(|_| other != room) else {
                continue;
            };
            if layer > own || (layer == PROVIDERS && own == PROVIDERS) {
                wrong.push(format!("{} names {other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_belongs_to_one_room_is_named_there_only() {
    let mut wrong = Vec::new();
    for (name, rooms) in ONLY {
        for (room, path) in sources() {
            let code = code(&path);
            let named = code
                .match_indices(name)
                .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            if named && !rooms.contains(&room.as_str()) {
                wrong.push(format!("{} names {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_file_is_too_long() {
    let tests: BTreeSet<PathBuf> = sources().flat_map(|(_, path)| test_modules(&path)).collect();
    let mut long = Vec::new();
    for (_, path) in sources().filter(|(_, path)| !tests.iter().any(|test| path.starts_with(test))) {
        let text = read(&path);
        let own = without_tests(&text);
        long.push((own.lines().count(), path));
    }
    for path in files("scripts").into_iter().chain([".ci/run".into()]) {
        let text = fs::read(root().join(&path)).unwrap();
        let text = String::from_utf8_lossy(&text);
        if text.starts_with("#!") || path.extension().is_some_and(|end| end == "sh") {
            long.push((text.lines().count(), path));
        }
    }
    long.retain(|(lines, _)| *lines > LONGEST);
    assert!(long.is_empty(), "more than {LONGEST} lines: {long:#?}");
}

/// A source file up to the tests at its end.
fn without_tests(text: &str) -> &str {
    let mut tails = text.match_indices("\n#[cfg(test)]\n").map(|(at, _)| at);
    let is_module = |at: &usize| {
        let line = text[at + "\n#[cfg(test)]\n".len()..]
            .lines()
            .next()
            .unwrap_or_default();
        line.contains("mod ") && line.ends_with('{')
    };
    tails.find(is_module).map_or(text, |at| &text[..at])
}

/// The files and folders of the modules that this file declares for tests only.
fn test_modules(path: &Path) -> Vec<PathBuf> {
    let text = read(path);
    let after = text.split("#[cfg(test)]\n").skip(1);
    // Up to its end, an item declares a module elsewhere if no brace comes first.
    let names = after.filter_map(|text| {
        let item = text.split_once(';')?.0;
        item.rsplit_once("mod ")
            .filter(|_| !item.contains('{'))
            .map(|(_, name)| name)
    });
    names
        .flat_map(|name| {
            [
                path.with_file_name(name),
                path.with_file_name(format!("{name}.rs")),
            ]
        })
        .collect()
}

#[test]
fn the_paths_in_the_readme_exist() {
    let text = read("README.md");
    let quoted = text.split('`').skip(1).step_by(2).filter(|word| {
        let first = word.split('/').next().unwrap();
        word.contains('/') && root().join(first).exists() && !word.contains([' ', '*', ':'])
    });
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let paths: Vec<&str> = quoted
        .chain(linked.filter(|link| !link.starts_with("http") && !link.starts_with('#')))
        .collect();
    assert!(paths.len() > 5, "{paths:?}");
    for path in paths {
        assert!(
            root().join(path).exists(),
            "README.md names {path}, which is not there"
        );
    }
}

fn verbs() -> Vec<String> {
    cli::command()
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect()
}

#[cfg(all(feature = "aws", feature = "kubernetes"))]
#[test]
fn the_readme_lists_every_command_and_exit_code() {
    let text = read("README.md");
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `stackup ")?.split_once('`'));
    assert_eq!(rows.map(|(verb, _)| verb).collect::<Vec<_>>(), verbs());
    let rows = text
        .split("## Exit codes")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap()
        .lines();
    let listed: BTreeSet<&str> = rows
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" |"))
        .flat_map(|(codes, _)| codes.split(", "))
        .filter(|code| code.parse::<u8>().is_ok())
        .collect();
    let help = cli::command().render_help().to_string();
    let helped: BTreeSet<&str> = help
        .split("Exit codes:")
        .nth(1)
        .unwrap()
        .split(|letter: char| !letter.is_ascii_digit())
        .filter(|number| !number.is_empty())
        .collect();
    assert_eq!(listed, helped);
}

#[test]
fn every_verb_is_run_by_a_test() {
    let tests: String = files("tests")
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .map(read)
        .collect();
    for verb in verbs() {
        assert!(
            tests.contains(&format!("[\"{verb}\"")),
            "no test runs 'stackup {verb}'"
        );
    }
}

#[test]
fn nothing_in_the_repository_names_a_path_outside_it() {
    let folders = ["src", "tests", "scripts", "manifests", "stacks", "docs"];
    let single = ["README.md", "CHANGELOG.md", "Cargo.toml", "build.rs"];
    let outside = [
        concat!("..", "/shared"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
    ];
    let mut wrong = Vec::new();
    for path in folders
        .into_iter()
        .flat_map(files)
        .chain(single.map(PathBuf::from))
    {
        let text = String::from_utf8_lossy(&fs::read(root().join(&path)).unwrap()).into_owned();
        let named = |name: &str| {
            text.match_indices(name)
                .any(|(at, _)| !text[..at].ends_with(char::is_alphanumeric))
        };
        wrong.extend(
            outside
                .iter()
                .filter(|name| named(name))
                .map(|name| format!("{}: {name}", path.display())),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn versions() -> Value {
    serde_saphyr::from_str(&read("manifests/versions.yaml")).unwrap()
}

/// What an image of the manifests is called in the list of versions.
fn listed(image: &str) -> String {
    match image {
        "prometheus-operator" => "operator".into(),
        "prometheus-config-reloader" => "reloader".into(),
        "node-exporter" => "nodeExporter".into(),
        "kube-state-metrics" => "kubeStateMetrics".into(),
        service if service.ends_with("service") || ["frontend", "loadgenerator"].contains(&service) => {
            "onlineBoutique".into()
        }
        other => other.into(),
    }
}

#[test]
fn the_images_of_the_manifests_have_the_versions_of_the_list() {
    let versions = versions();
    let mut seen = BTreeMap::new();
    for path in files("manifests") {
        let text = read(&path);
        let words = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .filter_map(|line| {
                line.split_once(" image: ")
                    .map(|(_, image)| image)
                    .or_else(|| line.split_once("config-reloader=").map(|(_, image)| image))
            });
        for word in words {
            let image = word.split_whitespace().next().unwrap().trim_matches(['"', '\'']);
            // Beside images there are patterns and templates; an image has a name and a tag.
            let Some((name, tag)) = image.rsplit('/').next().unwrap().split_once(':') else {
                continue;
            };
            let key = listed(name);
            let wanted = versions[&key]
                .as_str()
                .unwrap_or_else(|| panic!("{}: {image} is not in the list", path.display()));
            assert_eq!(tag.trim_start_matches('v'), wanted, "{}: {image}", path.display());
            seen.insert(key, image.to_owned());
        }
        if let Some((_, rest)) = text.split_once("operator.prometheus.io/version: ") {
            assert_eq!(
                rest.split_whitespace().next(),
                versions["operator"].as_str(),
                "{}",
                path.display()
            );
        }
    }
    let used = [
        "operator",
        "reloader",
        "prometheus",
        "alertmanager",
        "nodeExporter",
        "kubeStateMetrics",
        "grafana",
        "onlineBoutique",
        "redis",
        "busybox",
    ];
    for name in used {
        assert!(
            seen.contains_key(name),
            "{name} is in the list, and no manifest uses it"
        );
    }
}

#[test]
fn the_programs_are_built_from_the_versions_of_the_list() {
    let versions = versions();
    let modules = [
        (
            "kubernetes",
            "k8s.io/kubernetes",
            &versions["kubernetes"]["version"],
        ),
        ("etcd", "go.etcd.io/etcd/server/v3", &versions["etcd"]),
        ("kwok", "sigs.k8s.io/kwok", &versions["kwok"]),
        ("kind", "sigs.k8s.io/kind", &versions["kind"]),
        (
            "operator",
            "github.com/prometheus-operator/prometheus-operator",
            &versions["operator"],
        ),
    ];
    for (folder, module, version) in modules {
        let text = read(format!("scripts/control-plane.d/{folder}/go.mod"));
        let line = format!("require {module} v{}", version.as_str().unwrap());
        assert!(
            text.lines().any(|found| found == line),
            "{folder}/go.mod has no line '{line}'"
        );
    }
}

/// Where CI has a laboratory with images of its own, that one must have built the same versions.
#[test]
fn the_laboratory_has_the_versions_of_the_list() {
    let Some(path) = env::var_os("STACKUP_LAB_VERSIONS") else {
        println!("skipped: STACKUP_LAB_VERSIONS is not set");
        return;
    };
    let text = fs::read_to_string(path).unwrap();
    let lab: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split('#').next()?.trim().split_once('='))
        .collect();
    let versions = versions();
    let pairs = [
        ("KUBERNETES", &versions["kubernetes"]["version"]),
        ("ETCD", &versions["etcd"]),
        ("KWOK", &versions["kwok"]),
        ("KIND", &versions["kind"]),
        ("HELM", &versions["helm"]),
        ("OPERATOR", &versions["operator"]),
        ("PROMETHEUS", &versions["prometheus"]),
        ("ALERTMANAGER", &versions["alertmanager"]),
        ("NODE_EXPORTER", &versions["nodeExporter"]),
        ("KUBE_STATE_METRICS", &versions["kubeStateMetrics"]),
        ("GRAFANA", &versions["grafana"]),
        ("BOUTIQUE", &versions["onlineBoutique"]),
    ];
    for (name, version) in pairs {
        assert_eq!(lab.get(name).copied(), version.as_str(), "{name}");
    }
}
