//! UpdateFeatures (57), versions 0–2: changes the finalized levels of features, such as `transaction.version`. Decided
//! by the controller (`controller::updates`).
//!
//! | version | adds                                                                            |
//! |---------|---------------------------------------------------------------------------------|
//! | 1       | the kind of upgrade, dry runs (KIP-778)                                         |
//! | 2       | no result of each feature: all are updated or none (KIP-1022)                   |

use std::ops::RangeInclusive;

use super::api_versions::kraft_version;
use super::{Api, Context, Reply, controlled};
use crate::controller::Command;
use crate::error_code::ErrorCode;
use crate::messages::update_features_response::UpdatableFeatureResult;
use crate::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

/// From this version on there is no result of each feature.
const ONE_RESULT_FROM: i16 = 2;

pub(super) struct UpdateFeatures;

impl Api for UpdateFeatures {
    type Request = UpdateFeaturesRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(
        ctx: &mut Context<'_>,
        request: UpdateFeaturesRequest,
    ) -> Reply<UpdateFeaturesResponse> {
        let (version, timeout_ms) = (ctx.version(), request.timeout_ms);
        let names = request.feature_updates.iter().map(|it| it.feature.clone());
        let names: Vec<_> = names.collect();
        let command = Command::UpdateFeatures {
            request,
            kraft_version: kraft_version(ctx),
        };
        let reply = controlled::reply(ctx, command, timeout_ms, error);
        let express = move |response: UpdateFeaturesResponse| {
            if version >= ONE_RESULT_FROM || response.error_code != ErrorCode::None.code() {
                return response;
            }
            let result = |name| UpdatableFeatureResult::default().with_feature(name);
            response.with_results(names.into_iter().map(result).collect())
        };
        match reply {
            Reply::Now(response) => Reply::Now(express(response)),
            Reply::Later(response) => Reply::later(async move { express(response.await) }),
            other @ (Reply::Silent | Reply::Close) => other,
        }
    }
}

fn error(code: ErrorCode) -> UpdateFeaturesResponse {
    UpdateFeaturesResponse::default().with_error_code(code.code())
}
