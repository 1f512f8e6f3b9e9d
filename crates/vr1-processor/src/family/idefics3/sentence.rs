const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// A number in English words, as num2words writes it.
pub(super) fn in_words(number: usize) -> String {
    let below_hundred = |n: usize| match (n / 10, n % 10) {
        (0 | 1, _) => ONES[n].to_owned(),
        (tens, 0) => TENS[tens].to_owned(),
        (tens, ones) => format!("{}-{}", TENS[tens], ONES[ones]),
    };
    let below_thousand = |n: usize| match (n / 100, n % 100) {
        (0, rest) => below_hundred(rest),
        (hundreds, 0) => format!("{} hundred", ONES[hundreds]),
        (hundreds, rest) => format!("{} hundred and {}", ONES[hundreds], below_hundred(rest)),
    };
    match (number / 1000, number % 1000) {
        (0, rest) => below_thousand(rest),
        // More than a million frames are never taken of a video.
        (thousands @ 1000.., _) => format!("{}", thousands * 1000 + number % 1000),
        (thousands, 0) => format!("{} thousand", below_thousand(thousands)),
        (thousands, rest @ 1..100) => format!("{} thousand and {}", below_thousand(thousands), below_hundred(rest)),
        (thousands, rest) => format!("{} thousand, {}", below_thousand(thousands), below_thousand(rest)),
    }
}

/// Seconds as Python writes a `timedelta`.
pub(super) fn duration(seconds: u64) -> String {
    let clock = format!("{}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match seconds / 86_400 {
        0 => clock,
        1 => format!("1 day, {clock}"),
        days => format!("{days} days, {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, in_words};

    #[test]
    fn numbers_read_as_num2words_writes_them() {
        let read = [0, 5, 16, 20, 64, 100, 105, 999, 1000, 1005, 1100, 2345, 10_000].map(in_words);
        let written = [
            "zero",
            "five",
            "sixteen",
            "twenty",
            "sixty-four",
            "one hundred",
            "one hundred and five",
            "nine hundred and ninety-nine",
            "one thousand",
            "one thousand and five",
            "one thousand, one hundred",
            "two thousand, three hundred and forty-five",
            "ten thousand",
        ];
        assert_eq!(read, written);
    }

    #[test]
    fn durations_read_as_pythons() {
        assert_eq!([5, 3_661, 90_000].map(duration), ["0:00:05", "1:01:01", "1 day, 1:00:00"]);
    }
}
