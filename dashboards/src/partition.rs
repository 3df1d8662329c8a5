//! AWS partitions.

/// An AWS partition, with its own regions, accounts and endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    /// AWS.
    Aws,
    /// AWS China, which lacks CloudFront's additional metrics and X-Ray for Lambda.
    China,
}

impl Partition {
    /// All partitions.
    pub const ALL: [Self; 2] = [Self::Aws, Self::China];

    /// The name in ARNs and of the folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::China => "aws-cn",
        }
    }

    /// The region of CloudFront's metrics
    /// ([AWS](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/programming-cloudwatch-metrics.html)).
    ///
    /// No page documents it for AWS China. CloudFront's endpoint and CloudTrail events are in Ningxia there.
    pub fn cloudfront_region(self) -> &'static str {
        match self {
            Self::Aws => "us-east-1",
            Self::China => "cn-northwest-1",
        }
    }
}
