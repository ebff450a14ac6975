use super::*;

#[test]
fn every_line_of_the_table_parses() {
    for (class, first, last, _) in parse::lines() {
        for version in first..=last {
            assert!(
                parse::program(class, version).is_some(),
                "{class} {version}"
            );
        }
    }
}
