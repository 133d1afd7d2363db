"""What is deployed, authored here and carried out by CloudFormation: one file a part."""
