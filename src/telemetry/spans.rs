//! The pipeline of spans: sampler, resource and queue.

use std::sync::Arc;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::telemetry::exporter::{Enqueue, ExportConfig, SpanQueue};
use crate::telemetry::trace::TracePolicy;

/// How spans are created and exported.
#[derive(Debug, Clone)]
pub struct TracesConfig {
    /// Which invocations are sampled.
    pub policy: TracePolicy,
    /// Where the spans go.
    pub export: ExportConfig,
    /// Attributes of the function, named by the semantic conventions; sent with every batch.
    pub resource: Vec<(String, String)>,
}

/// The spans of this process, until the exporter sends them.
#[derive(Debug)]
pub struct Traces {
    /// Which invocations are sampled.
    pub policy: TracePolicy,
    /// Attributes of the function, sent with every batch.
    pub resource: Resource,
    /// Ended spans that wait for the exporter.
    pub queue: Arc<SpanQueue>,
    provider: SdkTracerProvider,
}

impl Traces {
    /// Sets up the pipeline.
    pub fn new(config: &TracesConfig) -> Self {
        let resource = resource(&config.resource);
        let queue = Arc::new(SpanQueue::new(&config.export));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Enqueue(queue.clone()))
            .with_sampler(config.policy.sampler.clone())
            .with_resource(resource.clone())
            .build();
        Self { policy: config.policy.clone(), resource, queue, provider }
    }

    /// The tracer that creates the spans.
    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("nearedge")
    }
}

/// The resource with these attributes of the function, and those of the SDK.
pub(super) fn resource(attributes: &[(String, String)]) -> Resource {
    let attributes = attributes.iter().map(|(name, value)| match value.parse::<i64>() {
        Ok(bytes) if name == "faas.max_memory" => KeyValue::new(name.clone(), bytes),
        _ if name == "aws.log.group.names" => {
            KeyValue::new(name.clone(), Value::Array(Array::String(vec![value.clone().into()])))
        }
        _ => KeyValue::new(name.clone(), value.clone()),
    });
    let resource = Resource::builder_empty().with_detector(Box::new(TelemetryResourceDetector));
    resource.with_attributes(attributes).build()
}
