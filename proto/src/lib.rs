//! The gRPC contracts, generated, and their conversions to the domain.
//!
//! Reading order: the `.proto` files under `tollgate/`, which document every field; [`permission`], the table of what each
//! RPC demands; [`push`], what both ends of a Follow stream compute alike; [`convert`], where wire types become domain types at the border and nowhere else.

pub mod permission;
pub mod push;
pub mod convert;

/// The administrative API.
pub mod admin {
    /// Version 1.
    #[expect(clippy::allow_attributes, clippy::allow_attributes_without_reason, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("tollgate.admin.v1");
    }
}

/// The audit log.
pub mod audit {
    /// Version 1.
    #[expect(clippy::allow_attributes, clippy::allow_attributes_without_reason, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("tollgate.audit.v1");
    }
}

/// Between replicas and control planes.
pub mod fleet {
    /// Version 1.
    #[expect(clippy::allow_attributes, clippy::allow_attributes_without_reason, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("tollgate.fleet.v1");
    }
}

/// Usage records and reports.
pub mod usage {
    /// Version 1.
    #[expect(clippy::allow_attributes, clippy::allow_attributes_without_reason, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("tollgate.usage.v1");
    }
}

/// Every file descriptor, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
