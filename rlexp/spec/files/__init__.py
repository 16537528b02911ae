"""What a folder or a reference must look like, without anything heavy."""
