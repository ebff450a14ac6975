//! DescribeCluster (60), versions 0–2: the cluster's id, its brokers as this listener's clients reach them, and whom to
//! ask for what only the controller does (KIP-700).
//!
//! | version | adds                                                                         |
//! |---------|------------------------------------------------------------------------------|
//! | 1       | the type of endpoints asked for, brokers or controllers (KIP-919)            |
//! | 2       | fenced brokers when asked for (KIP-1073)                                     |

use std::ops::RangeInclusive;

use super::cluster::{ALL_CLUSTER_OPERATIONS, View};
use super::{Api, Context, Reply};
use crate::error_code::ErrorCode;
use crate::messages::describe_cluster_response::DescribeClusterBroker;
use crate::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse, text};

pub(super) struct DescribeCluster;

/// Endpoint types of KIP-919.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

impl Api for DescribeCluster {
    type Request = DescribeClusterRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(
        ctx: &mut Context<'_>,
        request: DescribeClusterRequest,
    ) -> Reply<DescribeClusterResponse> {
        let image = ctx.broker.metadata().image();
        let view = View {
            image: &image,
            settings: ctx.broker.settings(),
            cluster_id: ctx.broker.cluster_id(),
            listener: &ctx.session.listener,
        };
        let chance = usize::try_from(ctx.header.correlation_id.unsigned_abs()).unwrap_or(0);
        Reply::Now(answer(view, &request, chance))
    }
}

pub(super) fn answer(
    view: View<'_>,
    request: &DescribeClusterRequest,
    chance: usize,
) -> DescribeClusterResponse {
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let message = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
            return error(ErrorCode::MismatchedEndpointType, message);
        }
        other => {
            return error(
                ErrorCode::UnsupportedEndpointType,
                &format!("Unsupported endpoint type {other}"),
            );
        }
    }
    let known = view
        .image
        .brokers()
        .iter()
        .filter(|broker| request.include_fenced_brokers || !broker.fenced);
    let reachable = known.filter_map(|broker| Some((broker, broker.endpoint(view.listener)?)));
    let brokers = reachable.map(|(broker, endpoint)| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(broker.id.0))
            .with_host(text(&endpoint.host))
            .with_port(endpoint.port.into())
            .with_rack(broker.rack.as_deref().map(text))
            .with_is_fenced(broker.fenced)
    });
    let mut response = DescribeClusterResponse::default()
        .with_error_message(None)
        .with_endpoint_type(BROKERS)
        .with_cluster_id(text(view.cluster_id))
        .with_controller_id(view.controller_id(chance))
        .with_brokers(brokers.collect());
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = ALL_CLUSTER_OPERATIONS;
    }
    response
}

/// A response that says no more than that the request failed.
fn error(code: ErrorCode, message: &str) -> DescribeClusterResponse {
    DescribeClusterResponse::default()
        .with_error_code(code as i16)
        .with_error_message(Some(text(message)))
        .with_endpoint_type(BROKERS)
        .with_controller_id(BrokerId(-1))
}
