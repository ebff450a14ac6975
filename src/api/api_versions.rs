//! ApiVersions (18), versions 0–4: what this broker serves, which features it knows and which level each has.
//!
//! Answered before authentication. A version that is not served is answered in version 0 with UNSUPPORTED_VERSION and
//! the range of ApiVersions alone, so that the client can ask again (KIP-511). The response header is always version 0.
//!
//! | version | adds                                                                      |
//! |---------|---------------------------------------------------------------------------|
//! | 1       | throttle time                                                             |
//! | 3       | the client's software name and version (KIP-511); features (KIP-584)      |
//! | 4       | features whose lowest level is 0 (KIP-1022)                               |

use std::ops::RangeInclusive;

use super::{Api, ClientSoftware, Context, Entry, Reply, TABLE};
use crate::config::features::{FEATURES, KRAFT_VERSION};
use crate::error_code::ErrorCode;
use crate::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use crate::messages::{ApiVersionsRequest, ApiVersionsResponse, Request, text};
use crate::metadata::Image;

pub(super) struct ApiVersions;

impl Api for ApiVersions {
    type Request = ApiVersionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    fn handle(ctx: &mut Context<'_>, request: ApiVersionsRequest) -> Reply<ApiVersionsResponse> {
        if ctx.version() >= 3 {
            if !is_software_text(&request.client_software_name)
                || !is_software_text(&request.client_software_version)
            {
                return Reply::Now(error(ErrorCode::InvalidRequest));
            }
            ctx.session.client_software = Some(ClientSoftware {
                name: request.client_software_name.as_str().into(),
                version: request.client_software_version.as_str().into(),
            });
        }
        Reply::Now(answer(
            &ctx.broker.image(),
            kraft_version(ctx),
            ctx.version(),
            ctx.broker.settings().unstable_api_versions_enable(),
        ))
    }

    fn unsupported_version() -> Option<(ApiVersionsResponse, i16)> {
        let own = TABLE
            .iter()
            .filter(|entry| entry.key == ApiVersionsRequest::KEY)
            .map(|entry| advertise(entry, false))
            .collect();
        Some((error(ErrorCode::UnsupportedVersion).with_api_keys(own), 0))
    }
}

fn answer(image: &Image, kraft_version: i16, version: i16, unstable: bool) -> ApiVersionsResponse {
    // Before version 4 a client takes a lowest level of 0 for an error (KIP-1022).
    let supported = FEATURES
        .iter()
        .filter(|feature| version >= 4 || feature.min > 0)
        .map(|feature| {
            SupportedFeatureKey::default()
                .with_name(text(feature.name))
                .with_min_version(feature.min)
                .with_max_version(feature.max)
        });
    // The quorum's own version is no feature record of the image. (KRaftMetadataCache.features)
    let of_quorum = (kraft_version > 0).then_some((KRAFT_VERSION, kraft_version));
    let of_image = image
        .features()
        .iter()
        .map(|(name, level)| (&**name, level));
    let finalized = of_image.chain(of_quorum).map(|(name, level)| {
        FinalizedFeatureKey::default()
            .with_name(text(name))
            .with_max_version_level(level)
            .with_min_version_level(level)
    });
    ApiVersionsResponse::default()
        .with_api_keys(
            TABLE
                .iter()
                .map(|entry| advertise(entry, unstable))
                .collect(),
        )
        .with_supported_features(supported.collect())
        .with_finalized_features_epoch(image.provenance().end_offset.0 - 1)
        .with_finalized_features(finalized.collect())
}

pub(super) fn kraft_version(ctx: &Context<'_>) -> i16 {
    let quorum = ctx.broker.controller().quorum_status();
    quorum.map_or(0, |status| status.kraft_version)
}

fn advertise(entry: &Entry, unstable: bool) -> ApiVersion {
    let highest = entry.unstable.filter(|_| unstable);
    ApiVersion::default()
        .with_api_key(entry.key)
        .with_min_version(*entry.advertised.start())
        .with_max_version(highest.unwrap_or(*entry.advertised.end()))
}

/// What a client may call itself. (ApiVersionsRequest.SOFTWARE_NAME_VERSION_PATTERN: `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`)
fn is_software_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()]
        .into_iter()
        .all(|end| end.is_some_and(u8::is_ascii_alphanumeric));
    ends && bytes
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// A response that says no more than that the request failed.
fn error(code: ErrorCode) -> ApiVersionsResponse {
    ApiVersionsResponse::default().with_error_code(code.code())
}
