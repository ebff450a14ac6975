//! IncrementalAlterConfigs (44), versions 0–1: sets single settings of resources, takes them away, adds to lists and takes
//! from them (KIP-339).
//!
//! Brokers are judged here first (`config_changes`); the controller decides (`controller::configs`).

use std::ops::RangeInclusive;

use super::config_changes::{Change, Judge, Told, assemble};
use super::{Api, Context, Reply, controlled};
use crate::controller::Command;
use crate::error_code::ErrorCode;
use crate::messages::incremental_alter_configs_request::AlterConfigsResource;
use crate::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use crate::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

pub(super) struct IncrementalAlterConfigs;

impl Api for IncrementalAlterConfigs {
    type Request = IncrementalAlterConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(
        ctx: &mut Context<'_>,
        mut request: IncrementalAlterConfigsRequest,
    ) -> Reply<IncrementalAlterConfigsResponse> {
        let image = ctx.broker.image();
        let judge = Judge {
            image: &image,
            settings: ctx.broker.settings(),
            validate_only: request.validate_only,
        };
        let told = judge.changes(request.resources.iter().map(change));
        let blank: Vec<_> = request.resources.iter().map(answer).collect();
        let mut judged = told.iter();
        request
            .resources
            .retain(|_| judged.next().is_some_and(Option::is_none));
        if request.resources.is_empty() {
            return Reply::Now(respond(blank, told, |_| None));
        }
        let timeout_ms = ctx.broker.settings().int("request.timeout.ms");
        let finish = |decided: Result<IncrementalAlterConfigsResponse, ErrorCode>| match decided {
            Ok(response) => {
                let mut decided = response.responses.into_iter();
                respond(blank, told, |_| decided.next())
            }
            Err(code) => respond(blank, told, |blank| {
                Some(blank.clone().with_error_code(code.code()))
            }),
        };
        controlled::reply_with(
            ctx,
            Command::IncrementalAlterConfigs(request),
            timeout_ms,
            finish,
        )
    }
}

fn change(resource: &AlterConfigsResource) -> Change<'_> {
    let configs = resource.configs.iter();
    Change {
        kind: resource.resource_type,
        name: &resource.resource_name,
        configs: configs
            .map(|config| {
                (
                    &*config.name,
                    config.config_operation,
                    config.value.as_deref(),
                )
            })
            .collect(),
    }
}

fn answer(resource: &AlterConfigsResource) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_error_message(None)
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
}

/// What was judged here, and for the others what was decided, in the order of the request.
fn respond(
    blank: Vec<AlterConfigsResourceResponse>,
    told: Vec<Option<Told>>,
    decided: impl FnMut(&AlterConfigsResourceResponse) -> Option<AlterConfigsResourceResponse>,
) -> IncrementalAlterConfigsResponse {
    let responses = assemble(
        blank,
        told,
        decided,
        |answer, (code, message): (ErrorCode, _)| {
            answer
                .with_error_code(code.code())
                .with_error_message(message)
        },
    );
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}
