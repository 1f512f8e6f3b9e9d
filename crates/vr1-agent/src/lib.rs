//! Several models at work on one question.
