use futures_util::FutureExt;

use super::*;

const NOW: SteadyTime = SteadyTime(1_000_000);

fn wanted(partition: i32, offset: i64) -> Wanted {
    Wanted {
        key: key(partition),
        fetch_offset: Offset(offset),
        max_bytes: 1000,
        current_leader_epoch: None,
        last_fetched_epoch: None,
        log_start_offset: Offset(-1),
    }
}

fn key(partition: i32) -> PartitionKey {
    PartitionKey {
        topic: TopicKey::Name("t".into()),
        partition: PartitionIndex(partition),
    }
}

fn asked(session_id: i32, session_epoch: i32, partitions: &[Wanted]) -> Asked {
    Asked {
        session_id,
        session_epoch,
        by_id: false,
        from_follower: false,
        isolation: Some(Isolation::ReadUncommitted),
        partitions: partitions.to_vec(),
        forgotten: Vec::new(),
    }
}

fn told(high_watermark: i64) -> Told {
    Told {
        high_watermark: Offset(high_watermark),
        log_start_offset: Offset(0),
        has_records: false,
        has_error: false,
        has_hint: false,
        is_at_end: false,
    }
}

fn at_end(high_watermark: i64) -> Told {
    Told {
        is_at_end: true,
        ..told(high_watermark)
    }
}

fn with_records(high_watermark: i64) -> Told {
    Told {
        has_records: true,
        ..told(high_watermark)
    }
}

/// A session over partitions 0 to `count` that has told a high watermark of 5 for each.
fn session(sessions: &Sessions, count: i32, now: SteadyTime) -> i32 {
    let all: Vec<Wanted> = (0..count).map(|partition| wanted(partition, 0)).collect();
    let context = sessions.open(asked(0, 0, &all), now).unwrap();
    let told = vec![told(5); all.len()];
    context.finish(sessions, &told, now).unwrap().session_id
}

fn order(context: &Context) -> Vec<i32> {
    context
        .wanted()
        .iter()
        .map(|wanted| wanted.key.partition.0)
        .collect()
}

#[test]
fn a_full_request_makes_a_session_and_the_next_names_nothing() {
    let sessions = Sessions::new(1000);
    let id = session(&sessions, 3, NOW);
    assert_ne!(id, NO_SESSION);
    let context = sessions.open(asked(id, 1, &[]), NOW).unwrap();
    assert_eq!(order(&context), [0, 1, 2]);
    let finished = context
        .finish(&sessions, &[told(5), with_records(5), told(6)], NOW)
        .unwrap();
    assert_eq!(
        finished,
        Finished {
            session_id: id,
            named: Some(vec![false, true, true])
        }
    );
}

#[test]
fn a_partition_that_had_records_goes_to_the_end() {
    let sessions = Sessions::new(1000);
    let id = session(&sessions, 3, NOW);
    let context = sessions.open(asked(id, 1, &[]), NOW).unwrap();
    context
        .finish(&sessions, &[with_records(5), told(5), told(5)], NOW)
        .unwrap();
    assert_eq!(
        order(&sessions.open(asked(id, 2, &[]), NOW).unwrap()),
        [1, 2, 0]
    );
}

#[test]
fn partitions_are_added_changed_and_forgotten() {
    let sessions = Sessions::new(1000);
    let id = session(&sessions, 3, NOW);
    let request = Asked {
        forgotten: vec![key(1)],
        ..asked(id, 1, &[wanted(7, 70), wanted(2, 20)])
    };
    let context = sessions.open(request, NOW).unwrap();
    assert_eq!(order(&context), [0, 2, 7]);
    assert_eq!(context.wanted()[1].fetch_offset, Offset(20));
    let finished = context
        .finish(&sessions, &[told(5), told(5), told(5)], NOW)
        .unwrap();
    assert_eq!(finished.named, Some(vec![false, false, true]));
    let request = Asked {
        forgotten: vec![key(7)],
        ..asked(id, 2, &[wanted(4, 0)])
    };
    assert_eq!(order(&sessions.open(request, NOW).unwrap()), [0, 2, 4]);
}

#[test]
fn after_an_error_a_partition_is_told_again() {
    let sessions = Sessions::new(1000);
    let id = session(&sessions, 1, NOW);
    for (epoch, told, named) in [
        (
            1,
            Told {
                has_error: true,
                ..told(5)
            },
            true,
        ),
        (2, told(5), true),
        (3, told(5), false),
    ] {
        let context = sessions.open(asked(id, epoch, &[]), NOW).unwrap();
        assert_eq!(
            context.finish(&sessions, &[told], NOW).unwrap().named,
            Some(vec![named])
        );
    }
}

#[test]
fn unknown_sessions_and_wrong_epochs_are_refused() {
    let sessions = Sessions::new(1000);
    let id = session(&sessions, 1, NOW);
    assert_eq!(
        sessions.open(asked(id ^ 8, 1, &[]), NOW).unwrap_err(),
        Error::NotFound
    );
    assert_eq!(
        sessions.open(asked(i32::MIN, 1, &[]), NOW).unwrap_err(),
        Error::NotFound
    );
    assert_eq!(
        sessions.open(asked(id, 2, &[]), NOW).unwrap_err(),
        Error::Epoch
    );
    let by_id = Asked {
        by_id: true,
        ..asked(id, 1, &[])
    };
    assert_eq!(sessions.open(by_id, NOW).unwrap_err(), Error::TopicId);
    let first = sessions.open(asked(id, 1, &[]), NOW).unwrap();
    let second = sessions.open(asked(id, 2, &[]), NOW).unwrap();
    assert_eq!(
        first.finish(&sessions, &[told(5)], NOW).unwrap_err(),
        Error::Epoch
    );
    second.finish(&sessions, &[told(5)], NOW).unwrap();
}

#[test]
fn a_session_ends_by_its_final_epoch_by_a_full_request_and_by_forgetting_all() {
    let sessions = Sessions::new(1000);
    for request in [
        |id| asked(id, FINAL_EPOCH, &[]),
        |id| asked(id, INITIAL_EPOCH, &[]),
        |id| Asked {
            forgotten: vec![key(0)],
            ..asked(id, 1, &[])
        },
    ] {
        let id = session(&sessions, 1, NOW);
        let context = sessions.open(request(id), NOW).unwrap();
        assert_ne!(context.finish(&sessions, &[], NOW).unwrap().session_id, id);
        assert_eq!(
            sessions.open(asked(id, 1, &[]), NOW).unwrap_err(),
            Error::NotFound
        );
    }
}

#[test]
fn a_full_cache_makes_room_by_kafkas_rules() {
    let sessions = Sessions::new(1);
    let first = session(&sessions, 2, NOW);
    assert_eq!(
        session(&sessions, 9, NOW),
        NO_SESSION,
        "the first is in use and young"
    );
    let later = NOW.plus_ms(EVICTION_MS + 1);
    sessions.open(asked(first, 1, &[]), later).unwrap();
    assert_eq!(
        session(&sessions, 1, later),
        NO_SESSION,
        "a smaller one does not replace it"
    );
    let second = session(&sessions, 3, later);
    assert_ne!(
        second, NO_SESSION,
        "a larger one replaces it once it is old"
    );
    let unused = later.plus_ms(EVICTION_MS + 1);
    assert_ne!(
        session(&sessions, 1, unused),
        NO_SESSION,
        "any replaces one that is not used"
    );
    let all = [wanted(0, 0)];
    let follower = Asked {
        from_follower: true,
        ..asked(0, 0, &all)
    };
    let context = sessions.open(follower, unused).unwrap();
    assert_ne!(
        context
            .finish(&sessions, &[told(0)], unused)
            .unwrap()
            .session_id,
        NO_SESSION
    );
    assert_eq!(sessions.len(), 1);
    assert_eq!(Sessions::new(0).len(), 0);
    assert_eq!(session(&Sessions::new(0), 1, NOW), NO_SESSION);
}

/// What each of a session's partitions tells of its changes.
fn partitions(count: usize) -> Vec<Arc<Waiting>> {
    (0..count).map(|_| Arc::default()).collect()
}

/// A session that has looked at all its partitions and found each at its end.
fn idle_session(sessions: &Sessions, partitions: &[Arc<Waiting>]) -> i32 {
    let id = session(sessions, partitions.len() as i32, NOW);
    let context = sessions.open(asked(id, 1, &[]), NOW).unwrap();
    assert_eq!(context.wanted().len(), partitions.len());
    look(&context, partitions);
    let told = vec![at_end(5); partitions.len()];
    context.finish(sessions, &told, NOW).unwrap();
    id
}

/// Watches those that are wanted, as who is about to read them.
fn look(context: &Context, partitions: &[Arc<Waiting>]) {
    let of = |wanted: &Wanted| partitions.get(wanted.key.partition.0 as usize);
    context.watch_all(context.wanted().iter().map(of));
}

#[test]
fn a_request_looks_at_what_has_changed_and_at_no_other_partition() {
    let sessions = Sessions::new(1000);
    let all = partitions(1000);
    let id = idle_session(&sessions, &all);
    let context = sessions.open(asked(id, 2, &[]), NOW).unwrap();
    assert_eq!((order(&context), context.has_idle()), (vec![], true));
    context.finish(&sessions, &[], NOW).unwrap();
    for at in [500, 3, 500] {
        all[at].advanced(10, Offset(6));
    }
    let context = sessions.open(asked(id, 3, &[wanted(70, 9)]), NOW).unwrap();
    assert_eq!(order(&context), [3, 70, 500]);
    look(&context, &all);
    let finished = context.finish(
        &sessions,
        &[with_records(6), at_end(5), with_records(6)],
        NOW,
    );
    assert_eq!(finished.unwrap().named, Some(vec![true, false, true]));
    let context = sessions.open(asked(id, 4, &[]), NOW).unwrap();
    assert_eq!(
        order(&context),
        [3, 500],
        "what had records is read until its end"
    );
    look(&context, &all);
    context
        .finish(&sessions, &[at_end(6), at_end(6)], NOW)
        .unwrap();
    all[3].wake_all();
    all[4].changed();
    let context = sessions.open(asked(id, 5, &[]), NOW).unwrap();
    assert_eq!(order(&context), [4, 3], "and went to the end");
}

#[test]
fn a_change_after_the_look_is_not_lost() {
    let sessions = Sessions::new(1000);
    let all = partitions(2);
    let id = idle_session(&sessions, &all);
    all[0].changed();
    let context = sessions.open(asked(id, 2, &[]), NOW).unwrap();
    look(&context, &all);
    all[0].changed();
    context.finish(&sessions, &[at_end(5)], NOW).unwrap();
    let context = sessions.open(asked(id, 3, &[]), NOW).unwrap();
    assert_eq!(order(&context), [0]);
}

#[test]
fn what_fails_is_not_here_or_could_be_read_is_looked_at_each_time() {
    let sessions = Sessions::new(1000);
    let all = partitions(4);
    let id = session(&sessions, 5, NOW);
    let fails = Told {
        has_error: true,
        ..told(-1)
    };
    for epoch in 1..4 {
        let context = sessions.open(asked(id, epoch, &[]), NOW).unwrap();
        // Of the last it is said that it is at its end, but nobody would tell of a change.
        match epoch {
            1 => assert_eq!(order(&context), [0, 1, 2, 3, 4]),
            _ => assert_eq!(order(&context), [0, 1, 4]),
        }
        look(&context, &all);
        let of = |wanted: &Wanted| match wanted.key.partition.0 {
            0 => fails,
            1 => told(5),
            _ => at_end(5),
        };
        let told: Vec<Told> = context.wanted().iter().map(of).collect();
        context.finish(&sessions, &told, NOW).unwrap();
    }
}

#[test]
fn another_reader_looks_at_all() {
    let sessions = Sessions::new(1000);
    let all = partitions(3);
    let id = idle_session(&sessions, &all);
    let with = |epoch, isolation| Asked {
        isolation,
        ..asked(id, epoch, &[])
    };
    for (at, (isolation, count)) in [
        (Some(Isolation::ReadCommitted), 3),
        (Some(Isolation::ReadCommitted), 0),
        (None, 3),
        (None, 3),
        (Some(Isolation::ReadCommitted), 3),
        (Some(Isolation::ReadCommitted), 0),
    ]
    .into_iter()
    .enumerate()
    {
        let context = sessions.open(with(at as i32 + 2, isolation), NOW).unwrap();
        assert_eq!(context.wanted().len(), count, "request {at}");
        look(&context, &all);
        context
            .finish(&sessions, &vec![at_end(5); count], NOW)
            .unwrap();
    }
}

#[test]
fn a_request_that_waits_takes_up_what_changes() {
    let sessions = Sessions::new(1000);
    let all = partitions(100);
    let id = idle_session(&sessions, &all);
    let mut context = sessions.open(asked(id, 2, &[]), NOW).unwrap();
    let waiter = Arc::new(Waiter::default());
    let wait = context.wait_by(&waiter);
    waiter.want(15);
    assert_eq!(context.renew(), Ok(News::Nothing));
    all[9].advanced(10, Offset(6));
    assert!(waiter.woken().now_or_never().is_none());
    all[9].advanced(10, Offset(7));
    assert!(waiter.woken().now_or_never().is_some());
    assert_eq!(context.renew(), Ok(News::Changes));
    assert_eq!(
        (order(&context), context.renew()),
        (vec![9], Ok(News::Nothing))
    );
    drop(wait);
    context.finish(&sessions, &[with_records(7)], NOW).unwrap();
}

#[test]
fn a_request_that_waits_ends_when_its_session_goes_on() {
    let sessions = Sessions::new(1000);
    let all = partitions(2);
    let id = idle_session(&sessions, &all);
    let mut first = sessions.open(asked(id, 2, &[]), NOW).unwrap();
    let waiters = [Arc::new(Waiter::default()), Arc::new(Waiter::default())];
    let wait = first.wait_by(&waiters[0]);
    let mut second = sessions.open(asked(id, 3, &[]), NOW).unwrap();
    assert!(waiters[0].woken().now_or_never().is_some());
    assert_eq!(first.renew(), Err(Error::Epoch));
    let _wait = second.wait_by(&waiters[1]);
    drop((wait, first.wait_by(&waiters[0])));
    waiters[1].want(1);
    all[1].advanced(1, Offset(6));
    assert!(waiters[1].woken().now_or_never().is_some());
    assert_eq!(
        first.renew(),
        Err(Error::Epoch),
        "and takes nothing from the other"
    );
    assert_eq!(second.renew(), Ok(News::Changes));
    assert_eq!(order(&second), [1]);
}

#[test]
fn who_leaves_a_session_and_sessions_that_end_leave_their_partitions() {
    let sessions = Sessions::new(1);
    let all = partitions(3);
    let id = idle_session(&sessions, &all);
    let held = || {
        all.iter()
            .map(|one| Arc::strong_count(one) - 1)
            .collect::<Vec<_>>()
    };
    assert_eq!(held(), [1, 1, 1]);
    let request = Asked {
        forgotten: vec![key(1)],
        ..asked(id, 2, &[])
    };
    sessions.open(request, NOW).unwrap();
    assert_eq!(held(), [1, 0, 1]);
    // In the slot of the one that was forgotten, whose change is noted already.
    all[2].changed();
    let context = sessions.open(asked(id, 3, &[wanted(7, 0)]), NOW).unwrap();
    assert_eq!(order(&context), [2, 7]);
    drop(context);
    let later = NOW.plus_ms(EVICTION_MS + 1);
    assert_ne!(session(&sessions, 1, later), NO_SESSION);
    assert_eq!(held(), [0, 0, 0]);
}

#[test]
fn a_request_that_waits_ends_when_its_session_does() {
    let sessions = Sessions::new(1000);
    let all = partitions(2);
    let id = session(&sessions, 2, NOW);
    let mut first = sessions.open(asked(id, 1, &[]), NOW).unwrap();
    look(&first, &all);
    let waiter = Arc::new(Waiter::default());
    let _wait = first.wait_by(&waiter);
    let forget = Asked {
        forgotten: vec![key(0), key(1)],
        ..asked(id, 2, &[])
    };
    sessions.open(forget, NOW).unwrap();
    assert!(waiter.woken().now_or_never().is_some());
    assert_eq!(first.renew(), Err(Error::Epoch));
    assert_eq!(
        first.finish(&sessions, &[at_end(5), at_end(5)], NOW),
        Err(Error::Epoch)
    );
}
