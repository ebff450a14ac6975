//! ListConfigResources (74), versions 0–1: what there is that has settings. (KafkaApis.handleListConfigResources)
//!
//! | version | adds                                                                         |
//! |---------|------------------------------------------------------------------------------|
//! | 0       | (as ListClientMetricsResources, KIP-714) client-metrics subscriptions        |
//! | 1       | the other kinds, and which of them are asked for (KIP-1142)                  |

use std::ops::RangeInclusive;

use super::cluster::View;
use super::{Api, Context, Reply};
use crate::error_code::ErrorCode;
use crate::messages::list_config_resources_response::ConfigResource;
use crate::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse, text};
use crate::metadata::ResourceKind;

/// The kinds that can be listed, in the order of the answer.
const KINDS: [ResourceKind; 5] = [
    ResourceKind::Group,
    ResourceKind::ClientMetrics,
    ResourceKind::BrokerLogger,
    ResourceKind::Broker,
    ResourceKind::Topic,
];

pub(super) struct ListConfigResources;

impl Api for ListConfigResources {
    type Request = ListConfigResourcesRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(
        ctx: &mut Context<'_>,
        request: ListConfigResourcesRequest,
    ) -> Reply<ListConfigResourcesResponse> {
        let image = ctx.broker.image();
        let view = View {
            image: &image,
            settings: ctx.broker.settings(),
            cluster_id: ctx.broker.cluster_id(),
            listener: &ctx.session.listener,
        };
        Reply::Now(answer(view, ctx.version(), &request))
    }
}

fn answer(
    view: View<'_>,
    version: i16,
    request: &ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let response = ListConfigResourcesResponse::default();
    let asked: Vec<ResourceKind> = match version {
        0 => vec![ResourceKind::ClientMetrics],
        _ if request.resource_types.is_empty() => KINDS.to_vec(),
        _ => request
            .resource_types
            .iter()
            .map(|code| ResourceKind::of(*code))
            .collect(),
    };
    if !asked.iter().all(|kind| KINDS.contains(kind)) {
        return response.with_error_code(ErrorCode::UnsupportedVersion.code());
    }
    let kinds = KINDS.into_iter().filter(|kind| asked.contains(kind));
    let resources = kinds.flat_map(|kind| {
        names(view, kind).into_iter().map(move |name| {
            ConfigResource::default()
                .with_resource_name(text(name))
                .with_resource_type(kind.code())
        })
    });
    response.with_config_resources(resources.collect())
}

/// Topics and brokers are there whether or not they have settings; groups and subscriptions are listed for theirs.
fn names(view: View<'_>, kind: ResourceKind) -> Vec<String> {
    match kind {
        ResourceKind::Topic => {
            let topics = view.image.topics().iter();
            topics.map(|topic| topic.name.to_string()).collect()
        }
        ResourceKind::Broker | ResourceKind::BrokerLogger => {
            let alive = view.image.brokers().alive(view.listener);
            alive.map(|(broker, _)| broker.id.to_string()).collect()
        }
        _ => {
            let configs = view.image.configs().iter();
            configs
                .filter(|(resource, _)| resource.kind == kind)
                .map(|(resource, _)| resource.name.to_string())
                .collect()
        }
    }
}
