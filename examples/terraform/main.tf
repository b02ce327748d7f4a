# eval "$(millrace env)" && terraform init && terraform apply
terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.0" }
  }
}

provider "aws" {
  region = "us-west-2"
  endpoints {
    ivs = "http://127.0.0.1:8080"
    sts = "http://127.0.0.1:8080"
  }
}

resource "aws_ivs_recording_configuration" "recordings" {
  name = "recordings"
  destination_configuration {
    s3 { bucket_name = "my-recordings" }
  }
}

resource "aws_ivs_channel" "live" {
  name                        = "live"
  type                        = "STANDARD"
  latency_mode                = "LOW"
  recording_configuration_arn = aws_ivs_recording_configuration.recordings.arn
}

data "aws_ivs_stream_key" "live" {
  channel_arn = aws_ivs_channel.live.arn
}

output "playback_url" { value = aws_ivs_channel.live.playback_url }
output "stream_key" {
  value     = data.aws_ivs_stream_key.live.value
  sensitive = true
}
