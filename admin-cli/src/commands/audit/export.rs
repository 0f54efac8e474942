//! `tollgate audit export`: the log as a file.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tollgate_audit::file::{Head, LINE_BYTES_MAX, Line};
use tollgate_proto::audit::v1;

use super::{
    filters::Filters,
    forth::Forth,
    record::{Form, Recorder, host},
    sink::Sink,
};
use crate::{
    commands::Context,
    failure::Failure,
    output::{Answer, Format, bare_table},
    surroundings::Surroundings,
};

/// What is said under `tollgate audit export --help`.
pub(super) const HELP: &str = "Example: tollgate audit export --file audit.jsonl
Example: tollgate audit export --format syslog --action 'request.*' --since 1h

The format jsonl is the sealed log up to a checkpoint that is signed for it: `tollgate audit verify` shows whether anything in it was
changed, left out or cut off. It takes no filters, since what was left out could not be told from what was taken away. The
other formats take them; each record has the index and the leaf hash of its entry, by which the entry is found in a sealed
export, and proved. Records come oldest first. A file has its name when it is whole, and .partial behind it until then.";

/// What is exported.
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// The format
    #[arg(long = "format", value_enum, default_value_t, value_name = "FORMAT")]
    form: Form,
    /// Write to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Begin with this entry; a sealed file begins behind the checkpoint before it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
    from_index: i64,
    #[command(flatten)]
    filters: Filters,
}

/// What was written to a file, for programs.
#[derive(Serialize)]
struct ExportView {
    file: String,
    format: &'static str,
    entries: u64,
}

// What was seen of a sealed stream.
struct Stream {
    // The part of a line whose rest has not come.
    rest: Vec<u8>,
    head: Option<Head>,
    entries: u64,
    broken: Vec<u64>,
    ended: bool,
}

impl Export {
    pub(super) async fn run(self, context: &Context, surroundings: &mut Surroundings<'_>) -> Result<Answer, Failure> {
        let Self { form, file, from_index, filters } = self;
        let filter = filters.text(context.now)?;
        if form == Form::Jsonl && !filter.is_empty() {
            let message = "the format jsonl takes no filters: a file from which entries are left out cannot prove that no others are missing";
            return Err(Failure::usage(message).hint(
                "export all of it, from --from-index on if that is enough; or filter with --format json, whose records name the index by \
                 which `tollgate audit prove` proves each",
            ));
        }
        let recorder = Recorder::new(form, host(surroundings));
        let mut sink = Sink::open(file.as_deref(), surroundings.stdout)?;
        let copied = if filter.is_empty() {
            Box::pin(streamed(context, from_index, recorder, &mut sink)).await
        } else {
            Box::pin(filtered(context, &filter, from_index, recorder, &mut sink)).await
        };
        let (entries, broken) = copied.map_err(|failure| {
            let left = sink.left();
            Failure { message: format!("the export broke off: {}; {left}", failure.message), ..failure }
        })?;
        sink.finish()?;
        let answer = match &file {
            Some(file) => written(context.format, file.display().to_string(), form, entries, from_index > 1)?,
            None => Answer::raw(""),
        };
        broken_entries(answer.note(format!("{entries} entries in the format {}", form.word())), &broken)
    }
}

// Rows that no writer stored are in a sealed file, where they show; there is no record of them.
fn broken_entries(answer: Answer, broken: &[u64]) -> Result<Answer, Failure> {
    let Some(first) = broken.first() else { return Ok(answer) };
    let message = format!("{} entries are broken in the database, the first of them entry {first}", broken.len());
    let failure =
        Failure::new("tampered", message).hint("run `tollgate audit verify` on an export in the format jsonl");
    Err(Failure { partial: Some(answer.result), ..failure })
}

fn written(format: Format, file: String, form: Form, entries: u64, is_partial: bool) -> Result<Answer, Failure> {
    let next = match form {
        Form::Jsonl if is_partial => {
            format!("written to {file}; check it with `tollgate audit verify --partial {file}`")
        }
        Form::Jsonl => format!("written to {file}; check it with `tollgate audit verify {file}`"),
        _ => format!("written to {file}"),
    };
    let answer = match format {
        Format::Table => Answer::raw(""),
        Format::Json | Format::Yaml => {
            format.document(&ExportView { file, format: form.word(), entries }, bare_table)?
        }
    };
    Ok(answer.note(next))
}

async fn filtered(
    context: &Context,
    filter: &str,
    from_index: i64,
    mut recorder: Recorder,
    sink: &mut Sink<'_>,
) -> Result<(u64, Vec<u64>), Failure> {
    let mut forth = Forth::new(filter.to_owned(), from_index - 1);
    loop {
        let entries = forth.next(context).await?;
        for entry in &entries {
            sink.write(&recorder.listed(entry)?)?;
        }
        if entries.is_empty() || !sink.is_open() {
            break;
        }
    }
    sink.write(recorder.end())?;
    Ok((recorder.written(), vec![]))
}

async fn streamed(
    context: &Context,
    from_index: i64,
    mut recorder: Recorder,
    sink: &mut Sink<'_>,
) -> Result<(u64, Vec<u64>), Failure> {
    let sealed = recorder.is_sealed();
    let request = v1::ExportEntriesRequest { from_index };
    let mut pieces = context.client.audit().export_entries(request).await?.into_inner();
    let mut stream = Stream { rest: vec![], head: None, entries: 0, broken: vec![], ended: false };
    while let Some(v1::ExportEntriesResponse { lines }) = pieces.message().await? {
        if sealed {
            sink.write(&lines)?;
        }
        stream.take(&lines, |line| {
            let Line::Entry(entry) = line else { return Ok(()) };
            if sealed || entry.header.index < from_index.unsigned_abs() {
                return Ok(());
            }
            sink.write(&recorder.line(&entry)?)
        })?;
        sink.flush()?;
        if !sink.is_open() {
            return Ok((stream.entries, vec![]));
        }
    }
    if !stream.ended || !stream.rest.is_empty() {
        return Err(Failure::new("truncated", "the stream ended before the last checkpoint").hint("export again"));
    }
    sink.write(recorder.end())?;
    let written = if sealed { stream.entries } else { recorder.written() };
    Ok((written, stream.broken))
}

// === impl Stream ===

impl Stream {
    // Shows each line that is whole by now.
    fn take(&mut self, piece: &[u8], mut see: impl FnMut(Line<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(line);
            if self.rest.len() > LINE_BYTES_MAX + 1 {
                return Err(unexpected("a line is longer than any of a log"));
            }
            if line.ends_with(b"\n") {
                let mut line = std::mem::take(&mut self.rest);
                line.pop();
                self.line(&line, &mut see)?;
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], see: &mut impl FnMut(Line<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
        let Some(head) = &self.head else {
            self.head = Some(Head::read(line).map_err(|error| unexpected(error.0))?);
            return Ok(());
        };
        if self.ended {
            return Err(unexpected("a line stands behind the end"));
        }
        let line = Line::read(head.log, line).map_err(|error| unexpected(error.0))?;
        match &line {
            Line::Entry(_) => self.entries += 1,
            Line::Broken(index, _) => self.broken.push(*index),
            Line::End(_) => self.ended = true,
            Line::Checkpoint(_) => {}
        }
        see(line)
    }
}

fn unexpected(reason: &str) -> Failure {
    Failure::new("internal", format!("the control plane sent what is no audit log: {reason}"))
}
