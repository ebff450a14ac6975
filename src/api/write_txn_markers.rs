//! WriteTxnMarkers (27), versions 1–2: a transaction coordinator has the ends of transactions written into the
//! partitions that this broker leads.
//!
//! | version | adds                                                                            |
//! |---------|---------------------------------------------------------------------------------|
//! | 2       | the transaction's version: from 2 on the epoch has to rise (KIP-1228)           |
//!
//! (KafkaApis.handleWriteTxnMarkersRequest)

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::transactional::producer;
use super::{Api, Context, Reply};
use crate::coordinator::markers::{Marker, Written};
use crate::error_code::ErrorCode;
use crate::ids::TopicPartition;
use crate::messages::write_txn_markers_request::WritableTxnMarker;
use crate::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use crate::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use crate::record::control::EndMarker;

pub(super) struct WriteTxnMarkers;

impl Api for WriteTxnMarkers {
    type Request = WriteTxnMarkersRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=2;

    fn handle(
        ctx: &mut Context<'_>,
        request: WriteTxnMarkersRequest,
    ) -> Reply<WriteTxnMarkersResponse> {
        // Kafka fails when it makes the batch, and says so of the whole request.
        if request.markers.iter().any(|it| !names_producer(it)) {
            let count = request.markers.iter().flat_map(|it| &it.topics);
            let count = count.map(|topic| topic.partition_indexes.len()).sum();
            let codes = vec![Err(ErrorCode::UnknownServerError); count];
            return Reply::Now(answer(request.markers, codes));
        }
        let written: Vec<Written> = request
            .markers
            .iter()
            .flat_map(|marker| write(ctx, marker))
            .collect();
        if written.iter().all(|it| matches!(it, Written::Now(_))) {
            let now = |written| match written {
                Written::Now(result) => Some(result),
                Written::Later(_) => None,
            };
            let codes = written.into_iter().filter_map(now).collect();
            return Reply::Now(answer(request.markers, codes));
        }
        Reply::later(async move {
            let mut codes = Vec::with_capacity(written.len());
            for written in written {
                codes.push(match written {
                    Written::Now(result) => result,
                    Written::Later(result) => result.await,
                });
            }
            answer(request.markers, codes)
        })
    }
}

fn names_producer(marker: &WritableTxnMarker) -> bool {
    marker.producer_id >= 0 && marker.producer_epoch >= 0
}

/// Writes one marker to its partitions.
fn write(ctx: &Context<'_>, asked: &WritableTxnMarker) -> Vec<Written> {
    let image = ctx.broker.image();
    let marker = Marker {
        producer: producer(asked.producer_id, asked.producer_epoch),
        end: EndMarker {
            commit: asked.transaction_result,
            coordinator_epoch: asked.coordinator_epoch,
        },
        transaction_version: asked.transaction_version.into(),
    };
    let mut written = Vec::new();
    for topic in &asked.topics {
        let name: Arc<str> = Arc::from(&*topic.name);
        for index in &topic.partition_indexes {
            let partition = TopicPartition::new(name.clone(), *index);
            written.push(ctx.broker.markers().write(&image, &partition, &marker));
        }
    }
    written
}

/// `codes` in the order of the request.
fn answer(
    asked: Vec<WritableTxnMarker>,
    codes: Vec<Result<(), ErrorCode>>,
) -> WriteTxnMarkersResponse {
    let mut codes = codes.into_iter();
    let mut partition = |index: i32| WritableTxnMarkerPartitionResult {
        partition_index: index,
        error_code: match codes.next() {
            Some(Err(code)) => code.code(),
            Some(Ok(())) | None => ErrorCode::None.code(),
        },
        ..Default::default()
    };
    let mut response = WriteTxnMarkersResponse::default();
    // Markers of one producer share a result, and their topics too. (WriteTxnMarkersResponse)
    let (mut producers, mut topics) = (HashMap::new(), HashMap::new());
    for marker in asked {
        let id = marker.producer_id;
        let at = *producers.entry(id).or_insert_with(|| {
            response.markers.push(WritableTxnMarkerResult {
                producer_id: id,
                ..Default::default()
            });
            response.markers.len() - 1
        });
        let result = &mut response.markers[at];
        for topic in marker.topics {
            let at = *topics.entry((id, topic.name.clone())).or_insert_with(|| {
                result.topics.push(WritableTxnMarkerTopicResult {
                    name: topic.name,
                    ..Default::default()
                });
                result.topics.len() - 1
            });
            let partitions = topic.partition_indexes.into_iter().map(&mut partition);
            result.topics[at].partitions.extend(partitions);
        }
    }
    response
}
