"""videossr: questions with proven answers from any folder of unlabelled videos."""
