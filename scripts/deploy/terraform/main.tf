# anomalyd: a bucket, a topic that tells of new files in it, and the smallest instance that scores
# them. terraform init && terraform apply -var bucket=NAME -var repository=URL

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "bucket" {
  type        = string
  description = "Name of the bucket to create; it must be free in all of AWS."
}

variable "repository" {
  type        = string
  description = "URL of the git repository with anomalyd's sources, readable without a password."
}

variable "revision" {
  type        = string
  default     = "main"
  description = "Branch or tag of the repository."
}

variable "instance_type" {
  type        = string
  default     = "t3.nano"
  description = "An x86-64 instance type."
}

variable "readers_cidr" {
  type        = string
  default     = "0.0.0.0/0"
  description = "Who may reach port 8000; SNS posts from addresses of its own."
}

data "aws_caller_identity" "me" {}
data "aws_partition" "here" {}
data "aws_region" "here" {}

data "aws_ssm_parameter" "image" {
  name = "/aws/service/debian/release/12/latest/amd64"
}

locals {
  bucket_arn = "arn:${data.aws_partition.here.partition}:s3:::${var.bucket}"
}

# ---- the bucket and the topic ----

resource "aws_s3_bucket" "store" {
  bucket = var.bucket
}

resource "aws_s3_bucket_public_access_block" "store" {
  bucket                  = aws_s3_bucket.store.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_sns_topic" "topic" {
  name_prefix       = "anomalyd-"
  signature_version = 2
}

data "aws_iam_policy_document" "topic" {
  statement {
    sid       = "BucketTells"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.topic.arn]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = [local.bucket_arn]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.me.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "topic" {
  arn    = aws_sns_topic.topic.arn
  policy = data.aws_iam_policy_document.topic.json
}

resource "aws_s3_bucket_notification" "store" {
  bucket     = aws_s3_bucket.store.id
  depends_on = [aws_sns_topic_policy.topic]
  topic {
    topic_arn     = aws_sns_topic.topic.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "raw/"
    filter_suffix = ".csv"
  }
}

# ---- what the instance may do ----

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "role" {
  statement {
    sid     = "Read"
    actions = ["s3:GetObject"]
    resources = [
      "${local.bucket_arn}/raw/*",
      "${local.bucket_arn}/processed/*",
      "${local.bucket_arn}/failed/*",
      "${local.bucket_arn}/state/*",
    ]
  }
  statement {
    sid     = "Write"
    actions = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = [
      "${local.bucket_arn}/processed/*",
      "${local.bucket_arn}/failed/*",
      "${local.bucket_arn}/state/*",
    ]
  }
  statement {
    sid     = "Remove"
    actions = ["s3:DeleteObject"]
    resources = [
      "${local.bucket_arn}/failed/*",
      "${local.bucket_arn}/state/sns_topic.json",
    ]
  }
  # IfExists: without a prefix in the request this right decides whether a missing object is
  # answered with 404 or, as if it were forbidden, with 403.
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
    condition {
      test     = "StringLikeIfExists"
      variable = "s3:prefix"
      values   = ["raw/*", "processed/*", "failed/*"]
    }
  }
  statement {
    sid       = "Subscribe"
    actions   = ["sns:Subscribe"]
    resources = [aws_sns_topic.topic.arn]
  }
}

resource "aws_iam_role" "instance" {
  name_prefix        = "anomalyd-"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "instance" {
  role   = aws_iam_role.instance.id
  policy = data.aws_iam_policy_document.role.json
}

resource "aws_iam_instance_profile" "instance" {
  name_prefix = "anomalyd-"
  role        = aws_iam_role.instance.name
}

# ---- the instance ----

resource "aws_security_group" "firewall" {
  name_prefix = "anomalyd-"
  description = "anomalyd"
  ingress {
    protocol    = "tcp"
    from_port   = 8000
    to_port     = 8000
    cidr_blocks = [var.readers_cidr]
  }
  egress {
    protocol    = "tcp"
    from_port   = 443
    to_port     = 443
    cidr_blocks = ["0.0.0.0/0"]
  }
  egress {
    protocol    = "tcp"
    from_port   = 80
    to_port     = 80
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_instance" "anomalyd" {
  ami                         = data.aws_ssm_parameter.image.value
  instance_type               = var.instance_type
  iam_instance_profile        = aws_iam_instance_profile.instance.name
  vpc_security_group_ids      = [aws_security_group.firewall.id]
  associate_public_ip_address = true
  depends_on                  = [aws_iam_role_policy.instance, aws_s3_bucket_notification.store]
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  root_block_device {
    volume_size = 8
    volume_type = "gp3"
    encrypted   = true
  }
  user_data = templatefile("${path.module}/../cloud-init.yaml", {
    Bucket     = var.bucket
    Region     = data.aws_region.here.name
    Topic      = aws_sns_topic.topic.arn
    Repository = var.repository
    Revision   = var.revision
  })
  lifecycle {
    ignore_changes = [ami]
  }
  tags = {
    Name = "anomalyd"
  }
}

output "url" {
  description = "Where the service answers, a few minutes after the instance is there."
  value       = "http://${aws_instance.anomalyd.public_ip}:8000/docs"
}
