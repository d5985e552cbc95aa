"""Writers: blocks become text in a format. They put nothing in that the document does not say."""
