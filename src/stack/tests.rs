use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Request, find, load, parse, schema, schema_text, template};
use crate::model::{CheckLevel, ClusterModel, ManifestSource, Mistake, StackModel};

const SECRET: &str = "Hunter2 must not be shown";

fn env() -> BTreeMap<String, String> {
    [
        ("RUN_ID", "42"),
        ("PASSWORD", SECRET),
        ("EMPTY", ""),
        ("HOME", "/home/me"),
        ("WORKERS", "3"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn check(text: &str) -> Result<StackModel, Vec<Mistake>> {
    parse(
        text,
        Path::new("stack.yaml"),
        Path::new("/home/project/stacks"),
        &env(),
    )
}

fn rendered(mistakes: &[Mistake]) -> String {
    mistakes.iter().fold(String::new(), |mut text, mistake| {
        writeln!(text, "{mistake}").unwrap();
        text
    })
}

/// A folder with files in it, and a request for some of them.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn load_in(folder: &Path, files: &[&str], set: &[&str]) -> Result<StackModel, Vec<Mistake>> {
    load(&Request {
        files: files.iter().map(|file| folder.join(file)).collect(),
        set: set.iter().map(|&set| set.to_owned()).collect(),
        env: env(),
    })
}

/// The mistakes of a load, without the folder's own name.
fn mistakes_in(folder: &Path, files: &[&str], set: &[&str]) -> String {
    let mistakes = load_in(folder, files, set).unwrap_err();
    rendered(&mistakes).replace(&format!("{}/", folder.display()), "")
}

const WHOLE: &str = r#"
name: shop-ci-${env:RUN_ID}
lifetime: 1d12h
cluster:
  provider: kind
  kubernetes: "1.34"
  workers: 2
  kind:
    image: kindest/node:v1.34.11
    loadImages: [images/a.tar, /images/b.tar]
    config: {networking: {apiServerPort: 6443}}
components:
  - name: online-boutique
    manifests: builtin:online-boutique
    dependsOn: [monitoring]
    namespace: shop
    labels: {team: shop, example.com/tier: ""}
  - name: monitoring
    manifests: ../manifests/./monitoring
    images: {quay.io/prometheus: mirror.example/prometheus}
    values: {prometheus.replicas: 2, grafana.enabled: false, alertmanager.config: "password: ${env:PASSWORD}"}
    patches:
      - target: {kind: Prometheus}
        merge: {spec: {replicas: "${value}"}}
verify: quick
tags: {team: shop}
"#;

#[test]
fn a_whole_file_is_read_into_the_model() {
    let stack = check(WHOLE).unwrap();
    assert_eq!(stack.name, "shop-ci-42");
    assert_eq!(stack.folder, Path::new("/home/project/stacks"));
    assert_eq!(stack.lifetime, Some(Duration::from_hours(36)));
    assert_eq!(stack.verify, Some(CheckLevel::Quick));
    assert_eq!(
        stack.tags,
        BTreeMap::from([("team".to_owned(), "shop".to_owned())])
    );
    let ClusterModel::Kind(kind) = &stack.cluster else {
        panic!("{:?}", stack.cluster);
    };
    assert_eq!(kind.workers, 2);
    assert_eq!(kind.kubernetes.as_deref(), Some("1.34"));
    assert_eq!(kind.image.as_deref(), Some("kindest/node:v1.34.11"));
    assert_eq!(
        kind.load_images,
        [
            Path::new("/home/project/stacks/images/a.tar"),
            Path::new("/images/b.tar")
        ]
    );
    assert_eq!(kind.config, Some(json!({"networking": {"apiServerPort": 6443}})));
    let [shop, monitoring] = stack.components.as_slice() else {
        panic!("{:?}", stack.components);
    };
    assert_eq!(shop.source, ManifestSource::Builtin("online-boutique".to_owned()));
    assert_eq!(shop.depends_on, ["monitoring"]);
    assert_eq!(shop.namespace.as_deref(), Some("shop"));
    assert_eq!(shop.labels.get("example.com/tier").map(String::as_str), Some(""));
    let manifests = ManifestSource::Path("/home/project/manifests/monitoring".into());
    assert_eq!(monitoring.source, manifests);
    assert_eq!(monitoring.values.get("prometheus.replicas"), Some(&json!(2)));
    assert_eq!(monitoring.values.get("grafana.enabled"), Some(&json!(false)));
    let config = monitoring.values.get("alertmanager.config");
    assert_eq!(config, Some(&json!(format!("password: {SECRET}"))));
    assert_eq!(
        monitoring.patches[0]["merge"]["spec"]["replicas"],
        json!("${value}")
    );
}

#[test]
fn what_is_left_out_has_a_default() {
    let stack = check("name: a\ncluster: {provider: kwok}\n").unwrap();
    let ClusterModel::Kwok(kwok) = &stack.cluster else {
        panic!("{:?}", stack.cluster);
    };
    assert_eq!((kwok.workers, &kwok.kubernetes), (1, &None));
    assert_eq!(stack.verify, Some(CheckLevel::Standard));
    assert_eq!(
        (stack.lifetime, stack.components.len(), stack.tags.len()),
        (None, 0, 0)
    );
}

#[test]
fn an_existing_cluster_is_named_by_its_context() {
    let stack = check("name: a\ncluster: {provider: existing, existing: {context: c, kubeconfig: k.yaml}}\n")
        .unwrap();
    let ClusterModel::Existing(existing) = &stack.cluster else {
        panic!("{:?}", stack.cluster);
    };
    assert_eq!(existing.context, "c");
    assert_eq!(
        existing.kubeconfig.as_deref(),
        Some(Path::new("/home/project/stacks/k.yaml"))
    );
}

#[test]
fn verify_off_is_no_level_however_yaml_reads_the_word() {
    for off in ["off", "\"off\"", "false", "no"] {
        let stack = check(&format!("name: a\ncluster: {{provider: kwok}}\nverify: {off}\n")).unwrap();
        assert_eq!(stack.verify, None, "{off}");
    }
}

#[test]
fn a_number_may_come_from_the_environment() {
    let stack = check("name: a\ncluster:\n  provider: kwok\n  workers: ${env:WORKERS}\n").unwrap();
    assert!(matches!(stack.cluster, ClusterModel::Kwok(kwok) if kwok.workers == 3));
}

/// Bad inputs; the snapshot holds what is said of each, with line and column.
const BAD: &[&str] = &[
    "",
    "# nothing\n",
    "a list",
    "- name: a\n",
    "name: a\nname: b\n",
    "name: [a\n",
    "name: a\n\tcluster: b\n",
    "name: a: b\n",
    "name: &x [*x]\n",
    "name: *nobody\n",
    "name: !secret a\n",
    "name: a\n---\nname: b\n",
    "{}\n",
    "name: a\ncluster:\n",
    "name: a\ncluster: kind\n",
    "name: a\ncluster: {workers: 2}\n",
    "name: a\ncluster: {provder: kind}\n",
    "name: Demo_1\ncluster: {provider: kwok}\n",
    "name: -a\ncluster: {provider: kwok}\n",
    "name: a23456789012345678901234567890123456789-1\ncluster: {provider: kwok}\n",
    "name: 1.5\ncluster: {provider: kwok}\n",
    "name: yes\ncluster: {provider: kwok}\n",
    "name: \"\"\ncluster: {provider: kwok}\n",
    "name: ${env:EMPTY}\ncluster: {provider: kwok}\n",
    "name: shop-${env:PASSWORD}\ncluster: {provider: kwok}\n",
    "name: shop-${env:NOBODY}\ncluster: {provider: kwok}\n",
    "name: shop-${env:RUN_ID\ncluster: {provider: kwok}\n",
    "name: a\nClusters: {}\ncluster: {provider: kwok, wrokers: 2}\ncolour: red\n",
    "name: a\ncluster: {provider: kinda}\n",
    "name: a\ncluster: {provider: minikube}\n",
    "name: a\ncluster: {provider: [kind]}\n",
    "name: a\ncluster: {provider: \"${env:PASSWORD}\"}\n",
    "name: a\ncluster: {provider: eks, region: eu-central-1, nodeGroups: []}\n",
    "name: a\ncluster: {provider: eks}\n",
    "name: a\ncluster: {provider: eks, region: eu-central-1a, autoMode: true, workers: 2}\n",
    "name: a\ncluster: {provider: eks, region: eu-central-1, network: {cidr: 10.0.0.1/16, zones: 1, nat: regional}}\n",
    "name: a\ncluster: {provider: eks, region: eu-central-1, network: {cidr: 10.0.0.0/24, zones: [a, a], nat: sinlge}}\n",
    "name: a\ncluster: {provider: eks, region: eu-central-1, network: {vpc: vpc-1, subnets: [subnet-x], nat: none}}\n",
    "name: a\ncluster: {provider: eks, region: eu-central-1, endpoint: {public: false, publicCidrs: [all]}}\n",
    "name: a\ncluster: {provider: eks, region: eu-central-1, nodeGroups: [{name: A, min: 3, desired: 2}, {instanceTypes: [large], capacity: spto}]}\n",
    "name: a\ncluster: {provider: eks, region: eu-central-1, nodeGroups: [{name: a, taints: [{key: b, effect: noschedule}]}, {name: a}]}\n",
    "name: a\ncluster: {provider: eks, region: eu-central-1, access: [{principal: \"arn:aws:sts::111122223333:assumed-role/a/b\"}, {principal: me}]}\n",
    "name: a\ncluster: {provider: eks, region: eu-central-1, logs: {types: [audits], retentionDays: 2}, deletionProtection: maybe}\n",
    "name: a\ncluster:\n  provider: kwok\n  region: x\n  kind: {image: a}\n  workers: 0\n",
    "name: a\ncluster: {provider: kind, workers: 101}\n",
    "name: a\ncluster: {provider: kind, workers: \"2\"}\n",
    "name: a\ncluster: {provider: kind, workers: -1}\n",
    "name: a\ncluster: {provider: kind, workers: 1.5}\n",
    "name: a\ncluster: {provider: kind, workers: many}\n",
    "name: a\ncluster: {provider: kind, workers: \"${env:PASSWORD}\"}\n",
    "name: a\ncluster: {provider: kind, kubernetes: 1.30}\n",
    "name: a\ncluster: {provider: kind, kubernetes: v1.34}\n",
    "name: a\ncluster: {provider: kind, kubernetes: latest}\n",
    "name: a\ncluster: {provider: kind, kind: node}\n",
    "name: a\ncluster: {provider: kind, kind: {image: 1, loadImage: [], config: x}}\n",
    "name: a\ncluster: {provider: kind, kind: {loadImages: a.tar}}\n",
    "name: a\ncluster: {provider: kind, kind: {loadImages: [~/a.tar, [b], ~]}}\n",
    "name: a\ncluster: {provider: existing}\n",
    "name: a\ncluster: {provider: existing, workers: 1, existing: {contxt: a}}\n",
    "name: a\ncluster: {provider: existing, existing: {context: a, kubeconfig: ~/.kube/config}}\n",
    "name: a\ncluster: {provider: kwok}\ncomponents: {}\n",
    "name: a\ncluster: {provider: kwok}\ncomponents: [a, {}]\n",
    "name: a\ncluster: {provider: kwok}\ncomponents:\n- {name: A_b, manifests: 5}\n- {name: c, manifest: x}\n",
    "name: a\ncluster: {provider: kwok}\ncomponents:\n- {name: b, manifests: builtin:b}\n- {name: b, manifests: builtin:c}\n",
    "name: a\ncluster: {provider: kwok}\ncomponents:\n- {name: b, manifests: 'builtin:'}\n- {name: c, manifests: 'https://example.com/a.yaml'}\n",
    "name: a\ncluster: {provider: kwok}\ncomponents:\n- name: b\n  helm: {chart: x}\n",
    "name: a\ncluster: {provider: kwok}\ncomponents:\n- name: monitoring\n  manifests: builtin:b\n- name: shop\n  manifests: builtin:b\n  dependsOn: [monitorng]\n",
    "name: a\ncluster: {provider: kwok}\ncomponents:\n- name: shop\n  manifests: builtin:b\n  dependsOn: [other]\n",
    "name: a\ncluster: {provider: kwok}\ncomponents:\n- name: b\n  manifests: builtin:b\n  dependsOn: [d]\n- name: c\n  manifests: builtin:b\n  dependsOn: [b]\n- name: d\n  manifests: builtin:b\n  dependsOn: [c]\n",
    "name: a\ncluster: {provider: kwok}\ncomponents:\n- name: b\n  manifests: builtin:b\n  dependsOn: [b]\n",
    "name: a\ncluster: {provider: kwok}\ncomponents:\n- name: b\n  manifests: builtin:b\n  dependsOn: a\n  namespace: My Space\n  labels: {\"a b\": c, d: -e, f: 5, g: [h]}\n  images: [a]\n  values: 5\n  patches: [a, {}]\n",
    "name: a\ncluster: {provider: kwok}\nstate: {s3: {bucket: b}}\n",
    "name: a\ncluster: {provider: kwok}\nstate: {}\n",
    "name: a\ncluster: {provider: kwok}\nstate: {s3: {buckets: abc, key: /a, region: mars}, gcs: {}}\n",
    "name: a\ncluster: {provider: kwok}\nverify: deep\n",
    "name: a\ncluster: {provider: kwok}\nverify: standart\n",
    "name: a\ncluster: {provider: kwok}\nverify: on\n",
    "name: a\ncluster: {provider: kwok}\nlifetime: 8\n",
    "name: a\ncluster: {provider: kwok}\nlifetime: 0h\n",
    "name: a\ncluster: {provider: kwok}\nlifetime: ${env:PASSWORD}\n",
    "name: a\ncluster: {provider: kwok}\ntags: {a: 5, b: [c], d: ok}\n",
    "name: a\ncluster: {provider: kwok}\ntags:\n  team: ok\n  stackup:uid: mine\n  AWS:cloudformation:stack-name: s\n",
    "name: a\ncluster: {provider: kwok}\ntags: {a: \"${env:NOBODY}\"}\ncomponents:\n- {name: x, manifests: y, values: {p: \"${env:NEITHER}\"}}\n",
];

#[test]
fn every_mistake_is_told_with_its_place_and_what_to_do() {
    let mut all = String::new();
    for text in BAD {
        let mistakes = check(text).expect_err(text);
        for mistake in &mistakes {
            assert!(mistake.hint.is_some(), "{mistake}");
        }
        let rendered = rendered(&mistakes);
        assert!(!rendered.contains(SECRET) && !rendered.is_empty(), "{text}");
        let numbered: String = text
            .lines()
            .enumerate()
            .fold(String::new(), |mut all, (n, line)| {
                writeln!(all, "{:>3} | {line}", n + 1).unwrap();
                all
            });
        writeln!(all, "{numbered}{rendered}").unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn later_files_lie_over_earlier_ones_and_every_mistake_keeps_its_own_file() {
    let folder = folder(&[
        (
            "stacks/base.yaml",
            "name: a\ncluster: {provider: kind, workers: 2}\ncomponents:\n- {name: x, manifests: x.yaml}\ntags: {a: one, b: two}\n",
        ),
        ("stacks/x.yaml", ""),
        (
            "over/over.yaml",
            "cluster:\n  kind:\n    loadImages: [y.tar]\ntags: {b: 2nd, a: ~}\n",
        ),
        ("over/y.tar", ""),
        ("over/list.yaml", "components:\n- {name: z, manifests: y.tar}\n"),
        (
            "bad/bad.yaml",
            "cluster:\n  workers: many\n  kind: {loadImages: [y.tar]}\nextra: 1\n",
        ),
    ]);
    let folder = folder.path().canonicalize().unwrap();
    let stack = load_in(&folder, &["stacks/base.yaml", "over/over.yaml"], &[]).unwrap();
    assert_eq!(stack.folder, folder.join("stacks"));
    let ClusterModel::Kind(kind) = &stack.cluster else {
        panic!("{:?}", stack.cluster);
    };
    assert_eq!(
        (kind.workers, &kind.load_images),
        (2, &vec![folder.join("over/y.tar")])
    );
    let source = |stack: &StackModel| {
        stack
            .components
            .iter()
            .map(|c| c.source.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        source(&stack),
        [ManifestSource::Path(folder.join("stacks/x.yaml"))]
    );
    assert_eq!(stack.tags, BTreeMap::from([("b".to_owned(), "2nd".to_owned())]));
    let stack = load_in(&folder, &["stacks/base.yaml", "over/list.yaml"], &[]).unwrap();
    assert_eq!(
        source(&stack),
        [ManifestSource::Path(folder.join("over/y.tar"))],
        "lists replace"
    );
    insta::assert_snapshot!(mistakes_in(&folder, &["stacks/base.yaml", "bad/bad.yaml"], &[]), @r#"
bad/bad.yaml:2:12: cluster.workers must be a whole number from 0 to 100, not 'many' (a number has no quotes)
bad/bad.yaml:3:23: cluster.kind.loadImages.0 'y.tar': there is no such file (relative paths are relative to the file that names them)
bad/bad.yaml:4:1: unknown key 'extra' (there are: cluster, components, lifetime, name, state, tags, verify)
"#);
}

#[test]
fn set_changes_one_value() {
    let folder = folder(&[(
        "s.yaml",
        "name: a\ncluster: {provider: kwok}\ncomponents:\n- {name: x, manifests: builtin:x}\n",
    )]);
    let stack = load_in(
        folder.path(),
        &["s.yaml"],
        &[
            "cluster.provider=kind",
            "cluster.workers=3",
            "cluster.kubernetes=1.30",
            "cluster.kind.image=a=b",
            "components.x.values.prometheus.replicas=2",
            "components.0.images.quay.io/a=mirror.example/a",
            "components.x.dependsOn=[]",
            "name=shop-${env:RUN_ID}",
            "tags.a.b=1",
            "verify=",
        ],
    )
    .unwrap();
    let ClusterModel::Kind(kind) = &stack.cluster else {
        panic!("{:?}", stack.cluster);
    };
    assert_eq!(kind.workers, 3);
    assert_eq!(
        kind.kubernetes.as_deref(),
        Some("1.30"),
        "a shell has no quotes of YAML"
    );
    assert_eq!(kind.image.as_deref(), Some("a=b"));
    let [x] = stack.components.as_slice() else {
        panic!("{:?}", stack.components);
    };
    assert_eq!(
        x.values,
        BTreeMap::from([("prometheus.replicas".to_owned(), json!(2))])
    );
    assert_eq!(
        x.images.get("quay.io/a").map(String::as_str),
        Some("mirror.example/a")
    );
    assert_eq!(
        (stack.name.as_str(), stack.verify),
        ("shop-42", Some(CheckLevel::Standard))
    );
    assert_eq!(stack.tags.get("a.b").map(String::as_str), Some("1"));
    let wrong = [
        "cluster.workers",
        "cluster.wrokers=3",
        "cluster..workers=3",
        "=3",
        "components.y.namespace=a",
        "components.7.namespace=a",
        "name.b=c",
        "cluster.provider=[",
        "tags.password=${env:NOBODY}",
        "cluster.kubernetes=new",
    ];
    let all: String = wrong
        .iter()
        .map(|set| mistakes_in(folder.path(), &["s.yaml"], &[set]))
        .collect();
    insta::assert_snapshot!(all, @r#"
--set cluster.workers: has no value (write path=value, as in cluster.workers=3)
--set cluster.wrokers: unknown key 'wrokers' in cluster (did you mean 'workers'?)
--set cluster..workers: the path has an empty part (write it as in cluster.workers=3)
--set : the path has an empty part (write it as in cluster.workers=3)
--set components.y.namespace: components has no item 'y' (there are: x)
--set components.7.namespace: components has no item '7' (there are: x)
--set name.b: name is neither a map nor a list (leave out what follows it)
--set cluster.provider: not valid YAML: unclosed bracket '[' (text with special characters needs quotes that the shell leaves alone: 'path="text"')
--set tags.password: the environment variable NOBODY is not set (set it, as in `NOBODY=... stackup ...`, or write the value here)
--set cluster.kubernetes: cluster.kubernetes 'new' is not a version of Kubernetes (write minor or patch version without a 'v', as in "1.34" or "1.34.4")
"#);
}

#[test]
fn files_that_are_not_there_are_mistakes_with_a_place() {
    let folder = folder(&[
        (
            "s.yaml",
            "name: a\ncluster:\n  provider: kind\n  kind: {loadImages: [none.tar, sub]}\ncomponents:\n- name: x\n  manifests: ${env:RUN_ID}/x\n- {name: z, manifests: sub}\n",
        ),
        ("sub/x", ""),
        (
            "k.yaml",
            "name: a\ncluster: {provider: existing, existing: {context: c, kubeconfig: none}}\n",
        ),
    ]);
    fs::write(folder.path().join("latin"), [b'n', 0xe4]).unwrap();
    let path = folder.path();
    let mut all = mistakes_in(path, &["s.yaml"], &[]);
    all += &mistakes_in(path, &["k.yaml"], &[]);
    all += &mistakes_in(path, &["none.yaml", "sub", "latin"], &[]);
    all += &mistakes_in(path, &[], &[]);
    insta::assert_snapshot!(all, @r#"
s.yaml:4:23: cluster.kind.loadImages.0 'none.tar': there is no such file (relative paths are relative to the file that names them)
s.yaml:4:33: cluster.kind.loadImages.1 'sub' is a folder, and a file is needed (relative paths are relative to the file that names them)
s.yaml:7:14: components.x.manifests '${env:RUN_ID}/x': there is no such file or folder (relative paths are relative to the file that names them)
k.yaml:2:66: cluster.existing.kubeconfig 'none': there is no such file (relative paths are relative to the file that names them)
none.yaml: could not be read: No such file or directory (os error 2) (`stackup init` makes a stack file)
sub: could not be read: Is a directory (os error 21) (name a file that can be read)
latin: is not UTF-8: incomplete utf-8 byte sequence from index 1 (save it as UTF-8)
--file: no stack file is named (name one with -f)
"#);
}

#[test]
fn the_stack_file_of_a_folder_is_the_only_one_or_the_one_with_the_usual_name() {
    let found = |files: &[(&str, &str)]| {
        let folder = folder(files);
        match find(folder.path()) {
            Ok(path) => path.strip_prefix(folder.path()).unwrap().display().to_string(),
            Err(mistake) => mistake
                .to_string()
                .replace(&folder.path().display().to_string(), "HERE"),
        }
    };
    let stack = "name: a\ncluster: {provider: kwok}\n";
    let other = "clusters: []\n  cluster: a\n";
    let answers = [
        found(&[("a.yaml", stack), ("b.yaml", other), ("c.txt", stack)]),
        found(&[("a.yaml", stack), ("b.yml", stack), ("stackup.yaml", stack)]),
        found(&[("b.yml", stack), ("a.yaml", "cluster: [")]),
        found(&[("b.yaml", other)]),
        found(&[("stacks/kind.yaml", stack), ("stacks/other.yaml", stack)]),
    ];
    insta::assert_snapshot!(answers.join("\n"), @r#"
a.yaml
stackup.yaml
HERE: several stack files here: a.yaml, b.yml (name one with -f, or call the usual one stackup.yaml)
HERE: no stack file here: a YAML file with a top-level `cluster:` (`stackup init` makes one; -f names one that is elsewhere)
HERE: no stack file here: a YAML file with a top-level `cluster:` (name one: -f stacks/kind.yaml; `stackup init` makes a new one)
"#);
    assert!(
        find(Path::new("/nowhere/at/all"))
            .unwrap_err()
            .to_string()
            .contains("could not be read")
    );
}

#[test]
fn a_file_made_to_exhaust_its_reader_is_refused() {
    let deep = format!("name: {}", "[".repeat(100_000));
    let names = ["b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let mut laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (at, name) in names.iter().enumerate() {
        let before = if at == 0 { "a" } else { names[at - 1] };
        writeln!(
            laughs,
            "{name}: &{name} [{}]",
            vec![format!("*{before}"); 10].join(", ")
        )
        .unwrap();
    }
    for text in [deep, laughs] {
        let mistakes = rendered(&check(&text).unwrap_err());
        assert!(
            mistakes.contains("not valid YAML") && mistakes.len() < 500,
            "{mistakes}"
        );
    }
}

fn stacks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks")
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&schema()).unwrap()
}

/// A stack file as an editor's schema checker sees it: `off` is text to YAML 1.2.
fn as_json(text: &str) -> Value {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).unwrap()
}

#[test]
fn the_stacks_of_the_repository_are_valid_and_find_their_schema() {
    for entry in fs::read_dir(stacks()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        load(&Request {
            files: vec![path.clone()],
            env: BTreeMap::from([("RUN_ID".to_owned(), "1".to_owned())]),
            ..Request::default()
        })
        .unwrap_or_else(|mistakes| panic!("{}", rendered(&mistakes)));
        let text = fs::read_to_string(&path).unwrap();
        assert!(validator().is_valid(&as_json(&text)), "{}", path.display());
        let schema = text.lines().next().unwrap().split_once("$schema=").unwrap().1;
        assert!(stacks().join(schema).is_file(), "{schema}");
    }
}

#[test]
fn the_schema_in_the_repository_is_that_of_the_code() {
    let file = stacks().join("stack.schema.json");
    let same = fs::read_to_string(&file).is_ok_and(|text| text == schema_text());
    assert!(same, "run: stackup schema > stacks/stack.schema.json");
}

#[test]
fn the_schema_knows_exactly_the_keys_that_are_read() {
    fn properties(schema: &Value, path: &str, found: &mut Vec<String>) {
        if let Some(map) = schema["properties"].as_object() {
            for (key, inner) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                assert!(inner["description"].is_string(), "{path} has a description");
                properties(inner, &path, found);
                found.push(path);
            }
        }
        let Some(variants) = schema["anyOf"].as_array() else {
            return;
        };
        for variant in variants {
            properties(variant, path, found);
        }
    }
    let mut schema = schema();
    let item = schema["properties"]["components"]["items"].take();
    let mut found = Vec::new();
    properties(&schema, "", &mut found);
    properties(&item, "components.x", &mut found);
    assert!(found.len() > 20, "{found:?}");
    let folder = folder(&[(
        "s.yaml",
        "name: a\ncluster: {provider: kind}\ncomponents: [{name: x, manifests: builtin:x}]\n",
    )]);
    let unknown = |path: &str, provider: &str| {
        let sets = [format!("cluster.provider={provider}"), format!("{path}=[]")];
        load_in(folder.path(), &["s.yaml"], &sets.each_ref().map(String::as_str))
            .err()
            .is_some_and(|mistakes| rendered(&mistakes).contains("unknown key"))
    };
    for path in &found {
        let provider = if path.starts_with("cluster.existing") {
            "existing"
        } else {
            "kind"
        };
        assert!(!unknown(path, provider), "{path} is in the schema and not read");
    }
    // And the other way round: the hint for an unknown key lists all that are read.
    for (at, provider) in [
        ("", "kind"),
        ("cluster", "kind"),
        ("cluster", "existing"),
        ("cluster.kind", "kind"),
        ("components.x", "kind"),
        ("state", "kind"),
        ("state.s3", "kind"),
    ] {
        let path = if at.is_empty() {
            "zzzzzzzzzzzz".to_owned()
        } else {
            format!("{at}.zzzzzzzzzzzz")
        };
        let sets = [format!("cluster.provider={provider}"), format!("{path}=1")];
        let mistakes = load_in(folder.path(), &["s.yaml"], &sets.each_ref().map(String::as_str)).unwrap_err();
        let mistake = mistakes
            .iter()
            .find(|mistake| mistake.message.starts_with("unknown key"))
            .unwrap();
        let keys = mistake
            .hint
            .as_ref()
            .unwrap()
            .strip_prefix("there are: ")
            .unwrap();
        for key in keys.split(", ") {
            let path = if at.is_empty() {
                key.to_owned()
            } else {
                format!("{at}.{key}")
            };
            assert!(found.contains(&path), "{path} is read and not in the schema");
        }
    }
}

#[test]
fn the_schema_refuses_what_it_should() {
    let validator = validator();
    validator.validate(&as_json(WHOLE)).unwrap();
    for bad in [
        "{}",
        "name: a\ncluster: {provider: eks, region: eu-central-1, network: {nat: regional}}",
        "name: a\ncluster: {provider: eks, region: eu-central-1, nodeGroups: [{desired: 1}]}",
        "name: A\ncluster: {provider: kwok}",
        "name: a\ncluster: {provider: kwok, workers: 101}",
        "name: a\ncluster: {provider: kwok}\nextra: 1",
        "name: a\ncluster: {provider: kwok}\nverify: deep",
        "name: a\ncluster: {provider: kwok}\nlifetime: 8",
        "name: a\ncluster: {provider: kwok}\ncomponents: [{name: a}]",
    ] {
        assert!(!validator.is_valid(&as_json(bad)), "{bad}");
    }
}

#[test]
fn what_init_writes_is_valid_for_every_provider_and_name() {
    for provider in super::cluster::PROVIDERS {
        for name in ["demo", "shop-2", "on", "null", "7", "1e3"] {
            let text = template(provider, name).unwrap();
            let stack = check(&text).unwrap_or_else(|mistakes| panic!("{}\n{text}", rendered(&mistakes)));
            assert_eq!((stack.name.as_str(), stack.cluster.provider()), (name, provider));
            assert!(validator().is_valid(&as_json(&text)), "{text}");
            assert!(text.lines().all(|line| line.len() <= 100), "{text}");
            // What is commented out is meant to be used.
            let used = text.lines().fold(String::new(), |mut all, line| {
                let bare = line.trim_start();
                let indent = &line[..line.len() - bare.len()];
                let option = bare.strip_prefix("# ").filter(|rest| {
                    rest.trim_start()
                        .split_once(": ")
                        .or(rest.trim_start().split_once(':'))
                        .is_some_and(|(key, _)| {
                            key.chars().all(|c| c.is_ascii_alphanumeric() || "./".contains(c))
                        })
                });
                writeln!(all, "{indent}{}", option.unwrap_or(bare)).unwrap();
                all
            });
            check(&used).unwrap_or_else(|mistakes| panic!("{}\n{used}", rendered(&mistakes)));
        }
    }
    let mistake = template("minikube", "a").unwrap_err().to_string();
    assert_eq!(
        mistake,
        "--provider: unknown provider 'minikube' (there are: eks, existing, kind, kwok)"
    );
}

proptest! {
    #[test]
    fn any_text_has_an_answer(text in any::<String>()) {
        if let Err(mistakes) = check(&text) {
            prop_assert!(!mistakes.is_empty());
        }
    }

    #[test]
    fn any_text_of_yaml_signs_has_an_answer(text in "[-a:{}\\[\\], \n\"'&*!|>%#~.0$]{0,80}") {
        if let Err(mistakes) = check(&text) {
            prop_assert!(!mistakes.is_empty());
        }
    }

    #[test]
    fn any_part_of_a_valid_file_has_an_answer_that_keeps_secrets(
        lines in proptest::collection::vec(any::<bool>(), 32),
        from in 0usize..900,
        cut in 0usize..40,
    ) {
        let kept: Vec<_> = WHOLE.lines().zip(lines.iter().cycle()).filter_map(|(line, keep)| keep.then_some(line)).collect();
        let part = kept.join("\n");
        let whole: String = WHOLE.chars().enumerate().filter(|(at, _)| !(from..from + cut).contains(at)).map(|(_, c)| c).collect();
        for text in [part, whole] {
            if let Err(mistakes) = check(&text) {
                prop_assert!(!mistakes.is_empty());
                prop_assert!(!rendered(&mistakes).contains(SECRET));
            }
        }
    }

    #[test]
    fn any_bytes_in_a_file_have_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..64), set in "[a-z.=\\[{]{0,12}") {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("s.yaml"), bytes).unwrap();
        if let Err(mistakes) = load_in(folder.path(), &["s.yaml"], &[&set]) {
            prop_assert!(!mistakes.is_empty());
        }
    }
}
