"""What families with a U-Net and CLIP text encoders share: names in files, loading, noise, prediction. No family by itself."""
