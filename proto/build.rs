//! Compiles the .proto files in pure Rust, and turns the permission that each RPC declares into a table.
//! An RPC of the admin, audit or usage packages that declares none fails the build.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

use prost::Message as _;
use prost_reflect::{DescriptorPool, MethodDescriptor, Value};

const FILES: [&str; 15] = [
    "tollgate/admin/v1/permission.proto",
    "tollgate/admin/v1/quota.proto",
    "tollgate/admin/v1/organisation.proto",
    "tollgate/admin/v1/key.proto",
    "tollgate/admin/v1/access.proto",
    "tollgate/admin/v1/provider.proto",
    "tollgate/admin/v1/model.proto",
    "tollgate/admin/v1/route.proto",
    "tollgate/admin/v1/guardrail.proto",
    "tollgate/admin/v1/mcp.proto",
    "tollgate/admin/v1/fleet.proto",
    "tollgate/audit/v1/audit.proto",
    "tollgate/usage/v1/usage.proto",
    "tollgate/fleet/v1/fleet.proto",
    "tollgate/fleet/v1/lease.proto",
];

// Messages with a secret in them; src/convert/fleet.rs prints them without it.
const SECRET: [&str; 3] =
    [".tollgate.fleet.v1.CredentialSecret", ".tollgate.fleet.v1.Welcome", ".tollgate.fleet.v1.JoinRequest"];

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script where to write by its environment")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=tollgate");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true).open_files(FILES)?;
    let encoded = compiler.encode_file_descriptor_set();
    fs::write(out.join("descriptors.bin"), &encoded)?;
    fs::write(out.join("permissions.rs"), permissions(&DescriptorPool::decode(encoded.as_slice())?)?)?;
    // The well-known types come from prost-types, which also wants the descriptors without our extension's options.
    let descriptors = prost_types_set(compiler)?;
    tonic_prost_build::configure()
        .bytes(".tollgate.fleet.v1")
        .skip_debug(SECRET)
        // Sent once a stream: the other messages need not be as large.
        .boxed(".tollgate.fleet.v1.FollowRequest.message.hello")
        // The other subject is a name.
        .boxed(".tollgate.admin.v1.TestGuardrailRequest.subject.unsaved")
        .build_transport(true)
        .compile_fds(descriptors)?;
    Ok(())
}

fn prost_types_set(compiler: protox::Compiler) -> Result<tonic_prost_build::FileDescriptorSet, Box<dyn Error>> {
    let set = compiler.file_descriptor_set();
    Ok(tonic_prost_build::FileDescriptorSet::decode(set.encode_to_vec().as_slice())?)
}

fn permissions(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let mut rows = Vec::new();
    for service in pool.services().filter(|service| governed(service.full_name())) {
        for method in service.methods() {
            let permission = declared(pool, &method)
                .ok_or_else(|| format!("{} declares no tollgate.admin.v1.permission", method.full_name()))?;
            let path = format!("/{}/{}", service.full_name(), method.name());
            rows.push((path, permission, is_owned(pool, &method)));
        }
    }
    rows.sort();
    let mut code = String::from("pub(crate) static TABLE: &[Row] = &[\n");
    for (path, permission, owned) in rows {
        writeln!(code, "    Row {{ path: {path:?}, permission: {permission:?}, owned: {owned} }},")?;
    }
    code.push_str("];\n");
    Ok(code)
}

// Replicas authenticate by certificate, not by role.
fn governed(service: &str) -> bool {
    service.starts_with("tollgate.") && !service.starts_with("tollgate.fleet.")
}

fn declared(pool: &DescriptorPool, method: &MethodDescriptor) -> Option<String> {
    let extension = pool.get_extension_by_name("tollgate.admin.v1.permission")?;
    match method.options().get_extension(&extension).into_owned() {
        Value::String(permission) if !permission.is_empty() => Some(permission),
        _ => None,
    }
}

fn is_owned(pool: &DescriptorPool, method: &MethodDescriptor) -> bool {
    let extension = pool.get_extension_by_name("tollgate.admin.v1.owned");
    extension.is_some_and(|extension| *method.options().get_extension(&extension) == Value::Bool(true))
}
