//! A large organisation arrives whole at a replica that has nothing yet.

use tollgate_proto::admin::v1::RotateKeyRequest;
use tollgate_tests::{
    client::{self, message},
    cluster::{Cluster, Shape},
    database::Kind,
    organisation::Organisation,
};

// A hundred at a time, since the control plane publishes each transaction.
const LARGE: Organisation = Organisation { users: 10_000, groups: 200, together: 100 };
// Of so many users one key is tried: it works only if the key, its user, their team and the customer arrived.
const SAMPLE: usize = 499;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_users_arrive_whole_at_a_fresh_replica() {
    let mut cluster = Cluster::start(Shape { database: Kind::Sqlite, control_planes: 1, replicas: 0 }).await;
    LARGE.fill(&cluster.control_planes[0].store).await.unwrap();
    let mut secrets = Vec::new();
    for number in (0..LARGE.users - 1).step_by(SAMPLE).chain([LARGE.users - 1]) {
        let request = RotateKeyRequest { key: Organisation::key_name(number) };
        secrets.push((number, cluster.admin.keys().rotate_key(request).await.unwrap().into_inner().secret));
    }
    let fresh = cluster.add_replica("fresh", 0).await.url.clone();
    // A replica acknowledges a revision once its items add up to the digest that was signed over all of them.
    cluster.admin.converged(1).await;
    for (number, secret) in secrets {
        let answer = client::send(&cluster.http, &fresh, &secret, message("hello", false)).await;
        assert_eq!(answer.status, 200, "the key of user {number}: {}", answer.text());
    }
}
