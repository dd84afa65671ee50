//! `leveret perf soak`: half a minute of what a person may have for a day.

use std::process::Command;

use serde_json::Value;

#[test]
fn memory_descriptors_and_disk_stay_flat_under_mixed_load_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_leveret"))
        .args([
            "perf",
            "soak",
            "--duration",
            "24",
            "--restart-every",
            "5",
            "--json",
        ])
        .args(["--folder", folder.path().to_str().unwrap()])
        // Short files: much has to move.
        .env("LEVERET_STORE_LOG_FILE_SIZE", "4194304")
        .output()
        .expect("leveret runs");
    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}\n{errors}");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    for what in ["confirmed", "delivered", "connections", "queues"] {
        let count = report["counts"][what].as_u64().unwrap();
        assert!(count > 0, "{what}: {report}");
    }
    assert!(
        report["restarts"]["orderly"].as_u64() >= Some(1),
        "{report}"
    );
    assert!(report["restarts"]["killed"].as_u64() >= Some(1), "{report}");
}
