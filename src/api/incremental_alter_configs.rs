//! IncrementalAlterConfigs (44), versions 0–1: sets single settings of resources, takes them away, adds to lists and takes
//! from them (KIP-339).
//!
//! Brokers are judged here first (`config_changes`); the controller decides (`controller::configs`).

use std::ops::RangeInclusive;

use super::config_changes::alter;
use super::{Api, Context, Reply};
use crate::controller::{ConfigChanges, Edit, ResourceChange};
use crate::messages::incremental_alter_configs_request::AlterConfigsResource;
use crate::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use crate::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

pub(super) struct IncrementalAlterConfigs;

impl Api for IncrementalAlterConfigs {
    type Request = IncrementalAlterConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(
        ctx: &mut Context<'_>,
        request: IncrementalAlterConfigsRequest,
    ) -> Reply<IncrementalAlterConfigsResponse> {
        let changes = ConfigChanges {
            resources: request.resources.iter().map(change).collect(),
            replace: false,
            validate_only: request.validate_only,
        };
        alter(ctx, changes, |told| {
            let answers = request.resources.into_iter().zip(told);
            let answers = answers.map(|(resource, (code, message))| {
                AlterConfigsResourceResponse::default()
                    .with_error_code(code.code())
                    .with_error_message(message)
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name)
            });
            IncrementalAlterConfigsResponse::default().with_responses(answers.collect())
        })
    }
}

fn change(resource: &AlterConfigsResource) -> ResourceChange {
    let edits = resource.configs.iter().map(|config| Edit {
        name: config.name.clone(),
        operation: config.config_operation,
        value: config.value.clone(),
    });
    ResourceChange {
        kind: resource.resource_type,
        name: resource.resource_name.clone(),
        edits: edits.collect(),
    }
}
