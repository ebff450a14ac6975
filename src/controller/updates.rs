//! UpdateFeatures: finalized levels go up, and down where nothing that is written needs the higher one. All of a
//! request or nothing. (FeatureControlManager.updateFeatures; KIP-584, KIP-1022)

use std::collections::BTreeMap;

use crate::config::features::{FEATURES, KRAFT_VERSION, METADATA_VERSION};
use crate::error_code::ErrorCode;
use crate::messages::records::frame::MetadataRecord;
use crate::messages::{StrBytes, UpdateFeaturesRequest, UpdateFeaturesResponse};
use crate::metadata::record::{config_record, feature_record};
use crate::metadata::{
    ELIGIBLE_LEADER_REPLICAS_VERSION, FeatureRange, Image, MetadataVersion, Resource, ResourceKind,
};

use super::machine::{Answer, Decision, Machine};

const MIN_ISR: &str = "min.insync.replicas";

/// Levels of `metadata.version` that brought records which the levels below cannot read.
/// (MetadataVersion.didMetadataChange)
const METADATA_CHANGED_AT: [i16; 7] = [8, 11, 13, 15, 17, 23, 30];

/// What a client asks of a feature.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    Up,
    SafelyDown,
    UnsafelyDown,
}

impl Upgrade {
    fn of(code: i8) -> Option<Upgrade> {
        Some(match code {
            1 => Upgrade::Up,
            2 => Upgrade::SafelyDown,
            3 => Upgrade::UnsafelyDown,
            _ => return None,
        })
    }
}

/// Why a level is not taken.
struct Invalid(String);

fn invalid(name: &str, level: i16, why: impl std::fmt::Display) -> Invalid {
    Invalid(format!(
        "Invalid update version {level} for feature {name}. {why}"
    ))
}

impl Machine {
    /// `kraft_version`: the quorum's own level, which is no record of the image.
    pub(super) fn update_features(
        &self,
        image: &Image,
        request: &UpdateFeaturesRequest,
        kraft_version: i16,
    ) -> Decision {
        let proposed = proposed(image, request);
        let mut records = Vec::new();
        for update in &request.feature_updates {
            let (name, level) = (&*update.feature, update.max_version_level);
            let upgrade = Upgrade::of(update.upgrade_type);
            match self.updated(image, (name, level, upgrade), &proposed, kraft_version) {
                Ok(record) => records.extend(record),
                Err(Invalid(message)) => return refused(&message),
            }
        }
        let asks_for_elr = request
            .feature_updates
            .iter()
            .any(|it| &*it.feature == ELIGIBLE_LEADER_REPLICAS_VERSION && it.max_version_level > 0);
        if asks_for_elr {
            records = self.elr_safety(image).chain(records).collect();
        }
        if request.validate_only {
            records.clear();
        }
        let response = UpdateFeaturesResponse::default();
        Decision::of(records, Answer::UpdateFeatures(response))
    }

    /// The record of one update, if it needs one.
    fn updated(
        &self,
        image: &Image,
        (name, level, upgrade): (&str, i16, Option<Upgrade>),
        proposed: &BTreeMap<&str, i16>,
        kraft_version: i16,
    ) -> Result<Option<MetadataRecord>, Invalid> {
        let invalid = |why: &str| invalid(name, level, why);
        let upgrade = upgrade
            .ok_or_else(|| invalid("The controller does not support the given upgrade type."))?;
        let current = match name {
            METADATA_VERSION => image.features().metadata_version().0,
            KRAFT_VERSION => kraft_version,
            _ => image.features().level(name),
        };
        if level < 0 {
            return Err(invalid("A feature version cannot be less than 0."));
        }
        if let Some(why) = self.not_supported(image, name, level) {
            return Err(invalid(&why));
        }
        if level < current && upgrade == Upgrade::Up {
            return Err(invalid(
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
                 downgrade.",
            ));
        }
        if level > current && upgrade != Upgrade::Up {
            return Err(invalid("Can't downgrade to a newer version."));
        }
        match name {
            METADATA_VERSION => check_downgrade(current, level, upgrade)?,
            KRAFT_VERSION if level == current => return Ok(None),
            KRAFT_VERSION if level < current => {
                return Err(invalid("Can't downgrade the version of this feature."));
            }
            KRAFT_VERSION => {
                return Err(invalid(
                    "This controller does not change how the voters of a formatted cluster are kept.",
                ));
            }
            _ => check_dependencies(name, level, proposed).map_err(|why| invalid(&why))?,
        }
        Ok(Some(feature_record(name, level).into()))
    }

    /// Which node cannot have the level, if one cannot. (FeatureControlManager.reasonNotSupported)
    fn not_supported(&self, image: &Image, name: &str, level: i16) -> Option<String> {
        let here = self.settings.node_id();
        let local = FEATURES
            .iter()
            .find(|feature| feature.name == name)
            .map_or((0, 0), |feature| (feature.min, feature.max));
        let what = format!("Local controller {here}");
        let brokers = image.brokers().iter();
        let brokers = brokers.map(|it| (format!("Broker {}", it.id), range(&it.features, name)));
        let controllers = image.brokers().controllers().filter(|it| it.id != here);
        let controllers =
            controllers.map(|it| (format!("Controller {}", it.id), range(&it.features, name)));
        std::iter::once((what, local))
            .chain(brokers)
            .chain(controllers)
            .find_map(|(what, (min, max))| match (min..=max).contains(&level) {
                true => None,
                false if max == 0 => Some(format!("{what} does not support this feature.")),
                false if min == max => Some(format!("{what} only supports versions {min}")),
                false => Some(format!("{what} only supports versions {min}-{max}")),
            })
    }

    /// With eligible leader replicas the bound of in-sync replicas is the cluster's, and no broker's own.
    /// (ConfigurationControlManager.maybeGenerateElrSafetyRecords; KIP-966)
    fn elr_safety<'a>(&self, image: &'a Image) -> impl Iterator<Item = MetadataRecord> + 'a {
        let all = Resource::all_brokers();
        let own = self.settings.int(MIN_ISR).to_string();
        let missing = image.configs().value(&all, MIN_ISR).is_none();
        let of_cluster = missing.then(|| config_record(&all, MIN_ISR, Some(&own)).into());
        let of_brokers = image.configs().iter().filter(|(resource, values)| {
            resource.kind == ResourceKind::Broker
                && !resource.name.is_empty()
                && values.iter().any(|(name, _)| &**name == MIN_ISR)
        });
        let removed = of_brokers.map(|(resource, _)| config_record(resource, MIN_ISR, None).into());
        of_cluster.into_iter().chain(removed)
    }
}

/// All levels as they would be.
fn proposed<'a>(image: &'a Image, request: &'a UpdateFeaturesRequest) -> BTreeMap<&'a str, i16> {
    let mut levels: BTreeMap<&str, i16> = image
        .features()
        .iter()
        .map(|(name, level)| (&**name, level))
        .collect();
    levels.insert(METADATA_VERSION, image.features().metadata_version().0);
    let asked = request.feature_updates.iter();
    levels.extend(asked.map(|update| (&*update.feature, update.max_version_level)));
    levels
}

fn range(features: &[FeatureRange], name: &str) -> (i16, i16) {
    features
        .iter()
        .find(|feature| &*feature.name == name)
        .map_or((0, 0), |feature| (feature.min, feature.max))
}

/// (FeatureControlManager.updateMetadataVersion)
fn check_downgrade(current: i16, level: i16, upgrade: Upgrade) -> Result<(), Invalid> {
    if !METADATA_CHANGED_AT
        .iter()
        .any(|changed| (level + 1..=current).contains(changed))
    {
        return Ok(());
    }
    let why = match upgrade {
        Upgrade::UnsafelyDown => "Unsafe metadata downgrade is not supported in this version.",
        Upgrade::Up | Upgrade::SafelyDown => {
            "Refusing to perform the requested downgrade because it might delete metadata information."
        }
    };
    Err(Invalid(format!(
        "Unsupported metadata.version downgrade from {current} to {level}. {why}"
    )))
}

/// (Feature.validateVersion)
fn check_dependencies(
    name: &str,
    level: i16,
    proposed: &BTreeMap<&str, i16>,
) -> Result<(), String> {
    if !FEATURES.iter().any(|feature| feature.name == name) {
        return Err(format!("Feature {name} not found."));
    }
    let metadata_version = proposed.get(METADATA_VERSION).copied().unwrap_or(0);
    let oldest = MetadataVersion::OLDEST.0;
    if level >= 1 && metadata_version < oldest {
        return Err(format!(
            "{name} could not be set to {level} because it depends on metadata.version={oldest} (3.3-IV3)"
        ));
    }
    // 4.0-IV1 has the fields of eligible leader replicas.
    let needed = 23;
    if name == ELIGIBLE_LEADER_REPLICAS_VERSION && level >= 1 && metadata_version < needed {
        return Err(format!(
            "{name} could not be set to {level} because it depends on metadata.version level {needed}"
        ));
    }
    Ok(())
}

fn refused(message: &str) -> Decision {
    let message = format!(
        "The update failed for all features since the following feature had an error: {message}"
    );
    let response = UpdateFeaturesResponse::default()
        .with_error_code(ErrorCode::InvalidUpdateVersion.code())
        .with_error_message(Some(StrBytes::from_string(message)));
    Decision::of(Vec::new(), Answer::UpdateFeatures(response))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::config::Settings;
    use crate::ids::{LeaderEpoch, Offset, Timestamp};
    use crate::messages::text;
    use crate::messages::update_features_request::FeatureUpdateKey;
    use crate::metadata::Provenance;

    fn machine() -> (Machine, Image) {
        let settings = Settings::default_for(Path::new("data"));
        let records = super::super::default_bootstrap();
        let provenance = Provenance {
            end_offset: Offset(1),
            epoch: LeaderEpoch(1),
            timestamp: Timestamp(0),
        };
        let image = Image::empty().apply(&records, provenance).unwrap().0;
        (Machine::new("cluster", Arc::new(settings)), image)
    }

    /// The levels written, or the error.
    fn update(updates: &[(&str, i16, i8)]) -> Result<Vec<(String, i16)>, String> {
        let (machine, image) = machine();
        let updates = updates.iter().map(|(name, level, upgrade)| {
            FeatureUpdateKey::default()
                .with_feature(text(name))
                .with_max_version_level(*level)
                .with_upgrade_type(*upgrade)
        });
        let request = UpdateFeaturesRequest::default().with_feature_updates(updates.collect());
        let decision = machine.update_features(&image, &request, 0);
        let Answer::UpdateFeatures(response) = decision.answer else {
            panic!("another answer")
        };
        if response.error_code != 0 {
            let message = response.error_message.unwrap();
            return Err(message.rsplit_once("error: ").unwrap().1.to_owned());
        }
        let level = |record: &MetadataRecord| match record {
            MetadataRecord::FeatureLevel(record) => {
                Some((record.name.to_string(), record.feature_level))
            }
            _ => None,
        };
        Ok(decision.records.iter().filter_map(level).collect())
    }

    #[test]
    fn levels_go_down_and_up() {
        assert_eq!(
            update(&[("transaction.version", 1, 2), ("group.version", 0, 3)]),
            Ok(vec![
                ("transaction.version".to_owned(), 1),
                ("group.version".to_owned(), 0)
            ])
        );
        assert_eq!(
            update(&[("transaction.version", 2, 1)]),
            Ok(vec![("transaction.version".to_owned(), 2)])
        );
        assert_eq!(update(&[("kraft.version", 0, 1)]), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_is_refused_in_kafkas_words() {
        let error = |name, level, upgrade| update(&[(name, level, upgrade)]).unwrap_err();
        assert_eq!(
            error("transaction.version", 1, 1),
            "Invalid update version 1 for feature transaction.version. Can't downgrade the version of this feature \
             without setting the upgrade type to either safe or unsafe downgrade."
        );
        assert_eq!(
            error("transaction.version", 3, 1),
            "Invalid update version 3 for feature transaction.version. Local controller 1 only supports versions 0-2"
        );
        assert_eq!(
            error("no.such", 1, 1),
            "Invalid update version 1 for feature no.such. Local controller 1 does not support this feature."
        );
        assert_eq!(
            error("no.such", 0, 1),
            "Invalid update version 0 for feature no.such. Feature no.such not found."
        );
        assert_eq!(
            error("metadata.version", 29, 2),
            "Unsupported metadata.version downgrade from 30 to 29. Refusing to perform the requested downgrade because \
             it might delete metadata information."
        );
        for (name, level, upgrade) in [
            ("group.version", -1, 1),
            ("group.version", 1, 0),
            ("metadata.version", 6, 3),
            ("kraft.version", 1, 1),
            ("kraft.version", 1, 2),
        ] {
            assert!(update(&[(name, level, upgrade)]).is_err(), "{name} {level}");
        }
        // All or nothing.
        assert!(update(&[("group.version", 0, 2), ("share.version", 9, 1)]).is_err());
    }
}
