"""`videossr gallery`: a page on which a person sees that the labels are right."""
