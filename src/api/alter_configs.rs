//! AlterConfigs (33), versions 0–2: gives resources other settings in place of all that they have. Deprecated in favour
//! of IncrementalAlterConfigs (KIP-339), and still asked by older clients.
//!
//! Brokers are judged here first (`config_changes`); the controller decides (`controller::configs`).

use std::ops::RangeInclusive;

use super::config_changes::alter;
use super::{Api, Context, Reply};
use crate::controller::{ConfigChanges, Edit, Operation, ResourceChange};
use crate::messages::alter_configs_request::AlterConfigsResource;
use crate::messages::alter_configs_response::AlterConfigsResourceResponse;
use crate::messages::{AlterConfigsRequest, AlterConfigsResponse};

pub(super) struct AlterConfigs;

impl Api for AlterConfigs {
    type Request = AlterConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(ctx: &mut Context<'_>, request: AlterConfigsRequest) -> Reply<AlterConfigsResponse> {
        let changes = ConfigChanges {
            resources: request.resources.iter().map(change).collect(),
            replace: true,
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
            AlterConfigsResponse::default().with_responses(answers.collect())
        })
    }
}

fn change(resource: &AlterConfigsResource) -> ResourceChange {
    let edits = resource.configs.iter().map(|config| Edit {
        name: config.name.clone(),
        operation: Operation::Set as i8,
        value: config.value.clone(),
    });
    ResourceChange {
        kind: resource.resource_type,
        name: resource.resource_name.clone(),
        edits: edits.collect(),
    }
}
