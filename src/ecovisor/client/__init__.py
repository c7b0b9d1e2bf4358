"""The SDK: an app's virtual energy system over HTTP."""
