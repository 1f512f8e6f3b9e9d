//! The processor of the checkpoint that vr1-processor's tests have.

use std::path::Path;

use vr1_processor::Processor;

pub(crate) fn processor() -> Processor {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vr1-processor/tests/fixtures/checkpoint");
    Processor::from_dir(&dir).unwrap()
}
