use std::os::unix::fs::PermissionsExt as _;

use super::*;

const NOW: Timestamp = Timestamp(1_795_259_558_912);

fn node(directory: &Path) -> Settings {
    let dirs = format!("{0}/a,{0}/b", directory.display());
    Settings::default_for(directory)
        .with(&[("log.dirs", dirs.as_str())])
        .unwrap()
}

#[test]
fn dates_are_javas() {
    assert_eq!(java_date(NOW), "Sat Nov 21 11:12:38 UTC 2026");
    assert_eq!(
        java_date(Timestamp(1_709_164_800_000)),
        "Thu Feb 29 00:00:00 UTC 2024"
    );
}

#[test]
fn empty_directories_of_a_single_node_are_formatted() {
    let temporary = tempfile::tempdir().unwrap();
    let settings = node(temporary.path());
    let first = Storage::open(&settings, NOW).unwrap();
    let (cluster_id, directories) = (first.cluster_id.clone(), first.directories.clone());
    assert!(matches!(
        Storage::open(&settings, NOW),
        Err(Error::Locked(_))
    ));
    drop(first);
    let again = Storage::open(&settings, NOW).unwrap();
    assert_eq!(
        (&again.cluster_id, &again.directories),
        (&cluster_id, &directories)
    );
    let bootstrap = checkpoint::read(&temporary.path().join("b").join(BOOTSTRAP)).unwrap();
    assert_eq!(bootstrap.records.len(), 6);
    assert!(
        !temporary
            .path()
            .join("a")
            .join("__cluster_metadata-0")
            .exists()
    );
}

#[test]
fn a_dynamic_quorum_begins_with_the_voters() {
    let temporary = tempfile::tempdir().unwrap();
    let settings = node(temporary.path());
    let settings = settings
        .with(&[
            ("controller.quorum.voters", ""),
            ("controller.quorum.bootstrap.servers", "localhost:9093"),
        ])
        .unwrap();
    let storage = Storage::open(&settings, NOW).unwrap();
    let path = SnapshotId::EMPTY.path(&temporary.path().join("a/__cluster_metadata-0"));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o400
    );
    let quorum = checkpoint::read(&path).unwrap().quorum.unwrap();
    let voter = &quorum.voters[&NodeId(1)];
    assert_eq!(quorum.kraft_version, 1);
    assert_eq!(
        voter.directory_id,
        storage.directories[&temporary.path().join("a")]
    );
    assert_eq!(voter.endpoints[0].host, "127.0.0.1");
}

#[test]
fn nothing_is_formatted_over_what_is_there() {
    let temporary = tempfile::tempdir().unwrap();
    fs::create_dir_all(temporary.path().join("b/topic-0")).unwrap();
    assert!(matches!(
        Storage::open(&node(temporary.path()), NOW),
        Err(Error::NotEmpty(_))
    ));
}

#[test]
fn what_a_cut_off_formatting_leaves_is_formatted_again() {
    let temporary = tempfile::tempdir().unwrap();
    drop(Storage::open(&node(temporary.path()), NOW).unwrap());
    fs::remove_file(temporary.path().join("a").join(META_PROPERTIES)).unwrap();
    fs::remove_file(temporary.path().join("b").join(META_PROPERTIES)).unwrap();
    drop(Storage::open(&node(temporary.path()), NOW).unwrap());
}

#[test]
fn a_node_of_a_larger_cluster_says_how_to_format() {
    let temporary = tempfile::tempdir().unwrap();
    let settings = node(temporary.path());
    let settings = settings
        .with(&[("controller.quorum.voters", "1@a:1,2@b:1")])
        .unwrap();
    let error = Storage::open(&settings, NOW).unwrap_err().to_string();
    assert!(
        error.contains("dohle storage format -c FILE -t CLUSTER_ID"),
        "{error}"
    );
}

#[test]
fn directories_of_others_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let settings = node(temporary.path());
    drop(Storage::open(&settings, NOW).unwrap());
    let b = temporary.path().join("b");
    let meta = MetaProperties::read(&b).unwrap().unwrap();
    MetaProperties {
        node_id: NodeId(2),
        ..meta.clone()
    }
    .write(&b, NOW)
    .unwrap();
    assert!(matches!(
        Storage::open(&settings, NOW),
        Err(Error::OtherNode { .. })
    ));
    MetaProperties {
        cluster_id: "other".to_owned(),
        ..meta.clone()
    }
    .write(&b, NOW)
    .unwrap();
    assert!(matches!(
        Storage::open(&settings, NOW),
        Err(Error::OtherCluster { .. })
    ));
    let a = MetaProperties::read(&temporary.path().join("a"))
        .unwrap()
        .unwrap();
    a.write(&b, NOW).unwrap();
    assert!(matches!(
        Storage::open(&settings, NOW),
        Err(Error::SameDirectory(..))
    ));
    MetaProperties {
        directory_id: None,
        ..meta
    }
    .write(&b, NOW)
    .unwrap();
    let storage = Storage::open(&settings, NOW).unwrap();
    assert_eq!(
        MetaProperties::read(&b).unwrap().unwrap().directory_id,
        Some(storage.directories[&b])
    );
}

#[test]
fn a_formatting_cut_off_between_directories_goes_on() {
    let temporary = tempfile::tempdir().unwrap();
    let settings = node(temporary.path());
    let before = Storage::open(&settings, NOW).unwrap().cluster_id;
    let metadata = MetaProperties::path(settings.metadata_log_dir());
    fs::remove_file(&metadata).unwrap();
    assert_eq!(Storage::open(&settings, NOW).unwrap().cluster_id, before);
    // Directories that were in use are no such thing.
    fs::remove_file(&metadata).unwrap();
    for path in directories(&settings) {
        if path != settings.metadata_log_dir() {
            fs::create_dir(path.join("t-0")).unwrap();
        }
    }
    assert!(matches!(
        Storage::open(&settings, NOW),
        Err(Error::NotFormatted(_))
    ));
}
