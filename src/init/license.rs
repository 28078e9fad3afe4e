//! What a connector's license means for those who run it.

/// What a known license forbids or demands; `None` for permissive ones.
pub fn remark(license: &str) -> Option<&'static str> {
    let words = license.to_lowercase().replace(['-', '_', '.', ' ', '('], "");
    let has = |names: &[&str]| names.iter().any(|it| words.contains(it));
    // The first that fits: the license of an Apache project may mention others.
    [
        (
            &["elv2", "elasticlicense"][..],
            "It forbids to provide the connector to others as a hosted or managed service.",
        ),
        (&["noncommercial", "ccbync"][..], "It forbids commercial use."),
        (&["busl", "bsl11", "businesssource"][..], "It forbids production use beyond its own grant: read it first."),
        (
            &["sspl", "serversidepublic"][..],
            "Who provides the connector as a service must publish the source of that service.",
        ),
        (
            &["agpl", "affero"][..],
            "Who changes the connector must offer the changed source to its users, also over a network.",
        ),
        (
            &["proprietary", "allrightsreserved", "unlicensed"][..],
            "It is not an open-source license: ask its owner whether it allows this use.",
        ),
    ]
    .into_iter()
    .find(|(names, _)| has(names))
    .map(|(_, remark)| remark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restrictive_licenses_have_remarks() {
        for (license, word) in [
            ("ELv2", "hosted"),
            ("Elastic License 2.0 (ELv2)", "hosted"),
            ("AGPL-3.0-only", "changed source"),
            ("GNU Affero General Public License v3", "changed source"),
            ("PolyForm Noncommercial 1.0.0", "commercial"),
            ("BUSL-1.1", "production"),
            ("SSPL-1.0", "service"),
            ("Other/Proprietary License", "owner"),
        ] {
            assert!(remark(license).unwrap().contains(word), "{license}");
        }
        for license in ["MIT", "Apache-2.0", "Apache 2.0", "BSD-3-Clause", "Apache Software License", "GPL-3.0"] {
            assert_eq!(remark(license), None, "{license}");
        }
    }
}
