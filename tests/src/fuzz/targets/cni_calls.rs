//! The input of a plugin, and the output of a delegate.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use cni::args::CniArgs;
use cni::env::{Attachment, Detachment};
use cni::names::PluginType;
use cni::plugin::{About, Call, Plugin, ValidAttachment};
use cni::result::RawResult;
use cni::{CniError, Code, Version, chain, check, exec};
use serde_json::Value;

use super::super::{is_interface_name, is_word, lossy, pieces};

/// `CNI_ARGS`: what is read survives a round trip, and no key or value contains a separator.
pub fn cni_args(bytes: &[u8]) {
    let Ok(mut args) = CniArgs::parse(&lossy(bytes)) else { return };
    let again = CniArgs::parse(&args.to_text()).expect("what was read can be read again");
    assert_eq!(again, args);
    let pairs = args.pairs().to_vec();
    for (key, value) in &pairs {
        assert!(
            !key.is_empty() && !key.contains(['=', ';']) && !value.contains(['=', ';']),
            "{key:?}={value:?}"
        );
        let last = pairs.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        assert_eq!(args.get(key), last);
    }
    let known: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
    args.only(&known).expect("pairs that are known are taken");
    if let Some((key, _)) = pairs.first() {
        args.set(key, "x");
        assert_eq!(args.pairs().iter().filter(|(k, v)| k == key && v == "x").count(), 1);
        assert_eq!(args.pairs().iter().filter(|(k, _)| k == key).count(), 1);
    }
}

/// A whole call: the variables, one a line, and after a zero byte standard input. The output is a result of the conf's version, an error
/// object with a code, or nothing for verbs without a result.
pub fn cni_call(bytes: &[u8]) {
    let [variables, stdin] = pieces(bytes);
    let variables = lossy(variables);
    let lookup = |name: &str| {
        let mut pairs = variables.lines().filter_map(|line| line.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let code = cni::plugin::run(&Echo, &lookup, &mut &*stdin, &mut stdout, &mut stderr);
    let succeeded = format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS);
    let command = lookup("CNI_COMMAND").unwrap_or_default();
    assert_eq!(
        command.is_empty(),
        !stderr.is_empty(),
        "only a call without CNI_COMMAND writes to standard error"
    );
    if !succeeded {
        let error =
            CniError::from_json(&stdout).unwrap_or_else(|| panic!("no error object: {:?}", lossy(&stdout)));
        return assert_ne!(error.code.number(), 0, "{error:?}");
    }
    match command.as_str() {
        "ADD" => {
            let value: Value = serde_json::from_slice(&stdout).expect("a result is JSON");
            let raw = RawResult::from_value(value, Version::CURRENT).expect("of a known version");
            let conf = cni::conf::NetConf::parse(stdin).expect("ADD succeeds for a conf only");
            assert_eq!(raw.version(), conf.cni_version);
            raw.parse().expect("a result of ADD can be read");
        }
        "VERSION" => {
            let value: Value = serde_json::from_slice(&stdout).expect("the versions are JSON");
            assert_eq!(value["supportedVersions"].as_array().map(Vec::len), Some(Version::ALL.len()));
        }
        _ => assert!(stdout.is_empty(), "{command}: {:?}", lossy(&stdout)),
    }
}

/// A plugin that changes nothing and answers ADD with `prevResult`.
struct Echo;

impl Plugin for Echo {
    fn about(&self) -> About {
        About { text: "echo", versions: Version::ALL }
    }

    fn add(&self, attachment: &Attachment, call: &Call) -> Result<RawResult, CniError> {
        are_checked(attachment.container_id.as_str(), attachment.if_name.as_str());
        assert!(!attachment.netns.as_os_str().is_empty());
        let result = call.conf.prev_result()?.unwrap_or_default();
        result.to_raw(Version::CURRENT).map_err(|e| CniError::new(Code::Internal, e.to_string()))
    }

    fn del(&self, detachment: &Detachment, _: &Call) -> Result<(), CniError> {
        are_checked(detachment.container_id.as_str(), detachment.if_name.as_str());
        Ok(())
    }

    fn check(&self, attachment: &Attachment, call: &Call) -> Result<(), CniError> {
        are_checked(attachment.container_id.as_str(), attachment.if_name.as_str());
        let result = call.conf.prev_result()?.unwrap_or_default();
        check::own(attachment, &result).map(drop)
    }

    fn gc(&self, _: Option<&[ValidAttachment]>, call: &Call) -> Result<(), CniError> {
        assert!(call.conf.cni_version >= Version::V1_1_0, "GC exists since version 1.1.0");
        Ok(())
    }

    fn status(&self, call: &Call) -> Result<(), CniError> {
        assert!(call.conf.cni_version >= Version::V1_1_0, "STATUS exists since version 1.1.0");
        Ok(())
    }
}

fn are_checked(container_id: &str, if_name: &str) {
    assert!(is_word(container_id), "container id {container_id:?}");
    assert!(is_interface_name(if_name), "interface name {if_name:?}");
}

/// A delegate's output: four bytes of wait status, standard output, a zero byte, standard error. The error of a failed delegate is its own
/// error object, or one of bounded length; standard output of a success is a result or an error.
pub fn cni_exec_output(bytes: &[u8]) {
    let Some((status, output)) = bytes.split_first_chunk::<4>() else { return };
    let [stdout, stderr] = pieces(output);
    let error = exec::failure(ExitStatus::from_raw(i32::from_le_bytes(*status)), stdout, stderr);
    match CniError::from_json(stdout) {
        Some(own) => assert_eq!(error, own, "a delegate's own error is passed on as it is"),
        None => {
            assert_eq!(error.code, Code::Internal);
            // 1024 characters, each escaped as at most ten, and a sentence around them.
            assert!(error.msg.len() < 11 * 1024 && error.details.is_empty(), "{} bytes", error.msg.len());
            assert!(error.msg.starts_with("netplugin failed"), "{error}");
        }
    }
    let plugin = PluginType::parse("bridge").expect("a plugin");
    for &version in Version::ALL {
        match chain::result_of(&plugin, stdout, version) {
            Ok(raw) => assert_eq!(raw.value()["cniVersion"], raw.version().as_str()),
            Err(error) => assert!(matches!(error.code, Code::Decoding | Code::Internal), "{error:?}"),
        }
    }
}
