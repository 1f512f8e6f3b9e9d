//! What each form of a mathematical answer is worth, on drawn numbers: `math(answer, solution)`.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::LazyLock;

use proptest::prelude::*;
use vr1_reward::{Fields, Program, Registry, Rollout};

/// The verifier, the answer taken for itself and looked for in prose.
static PROGRAMS: LazyLock<[Program; 2]> = LazyLock::new(|| {
    ["answer", "prose"].map(|within| {
        let yaml = format!("terms: {{ m: \"math(completion, solution, within='{within}')\" }}\ntotal: m\n");
        Program::parse(&yaml, &Registry::default()).unwrap()
    })
});

fn right_within(within: &str, gold: &str, answer: &str) -> bool {
    let program = &PROGRAMS[usize::from(within == "prose")];
    let fields = Fields::new();
    let rollout =
        Rollout { prompt: "", completion: answer, solution: gold, tokens: 1, finished: true, fields: &fields };
    program.outcome(&rollout).unwrap().total == Some(1.0)
}

fn right(gold: &str, answer: &str) -> bool {
    right_within("answer", gold, answer)
}

/// Digits in groups of three.
fn grouped(number: u32, by: &str) -> String {
    let digits = number.to_string();
    let start = digits.len() % 3;
    let mut groups = vec![&digits[..start]];
    groups.extend((start..digits.len()).step_by(3).map(|at| &digits[at..at + 3]));
    groups.retain(|group| !group.is_empty());
    groups.join(by)
}

fn shuffled(text: &str) -> impl Strategy<Value = String> + use<> {
    Just(text.chars().collect::<Vec<_>>()).prop_shuffle().prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn words_around_a_number_are_read_for_it(
        number in 0u32..100_000,
        other in 0u32..100_000,
        sentence in prop::sample::select(vec![
            "There are @ cubes", "@ cubes", "@ dogs", "Answer: @", "The answer is @.", "I can see @ separate things", "@ km/h",
            "@ m/s", "@ of them", "about @ in all", "@dogs", "\\text{@ dogs}", "\\boxed{@ red dogs}", "**@ cubes**",
        ]),
    ) {
        let answer = sentence.replace('@', &number.to_string());
        prop_assert!(right(&number.to_string(), &answer));
        prop_assert_eq!(right(&other.to_string(), &answer), number == other);
    }

    #[test]
    fn a_product_of_names_is_no_word(factor in 2u32..100) {
        let (product, turned, number) = (format!("${factor}xy$"), format!("{factor}yx"), factor.to_string());
        prop_assert!(right(&product, &turned));
        prop_assert!(!right(&number, &turned));
        let with_pi = format!("{factor} pi");
        prop_assert!(!right(&number, &with_pi));
    }

    #[test]
    fn numerals_side_by_side_equal_nothing_but_themselves(a in 2u32..1000, b in 2u32..100) {
        let both = format!("{a} {b}");
        prop_assert!(right(&both, &both));
        for within in ["answer", "prose"] {
            for gold in [a * b, a, b, a + b] {
                prop_assert!(!right_within(within, &gold.to_string(), &both), "{} {}", gold, both);
            }
        }
        prop_assert_eq!(right(&both, &format!("{b} {a}")), a == b);
        let formula = format!("${both}$");
        prop_assert!(!right(&(a * b).to_string(), &formula));
        let (product, bracket) = ((a * b).to_string(), format!("{a}({b})"));
        prop_assert!(right(&product, &bracket));
    }

    #[test]
    fn a_whole_number_before_a_fraction_is_a_mixed_number(whole in 1u32..500, above in 1u32..20, more in 1u32..20) {
        let below = above + more;
        let gold = format!("{}/{below}", whole * below + above);
        for answer in [
            format!("{whole} {above}/{below}"),
            format!("{whole}\\,{above}/{below}"),
            format!("${whole} {above}/{below}$"),
            format!("${whole}\\frac{{{above}}}{{{below}}}$"),
            format!("{whole} {above}/{below} cups"),
        ] {
            for within in ["answer", "prose"] {
                // A gap of TeX stands in a formula.
                prop_assert!(right_within(within, &gold, &answer), "{} {}", gold, answer);
                let part = format!("{above}/{below}");
                prop_assert!(!right_within(within, &part, &answer), "{} {}", part, answer);
            }
        }
        let (minus, mixed) = (format!("-{gold}"), format!("-{whole} {above}/{below}"));
        prop_assert!(right(&minus, &mixed));
    }

    #[test]
    fn groups_of_three_are_one_number(number in 1000u32..2_000_000_000) {
        for by in [" ", "\\,", "\u{a0}", "\u{202f}", ","] {
            let answer = grouped(number, by);
            for answer in [format!("${answer}$"), format!("{answer} people"), answer] {
                prop_assert!(right(&number.to_string(), &answer), "{}", answer);
                prop_assert!(!right(&(number + 1).to_string(), &answer), "{}", answer);
                prop_assert!(!right("0", &answer), "{}", answer);
            }
        }
    }

    #[test]
    fn a_clock_is_only_the_same_clock(h in 0u32..24, m in 0u32..60, g in 0u32..24, n in 0u32..60) {
        let (a, b) = (format!("{h}:{m:02}"), format!("{g}:{n:02}"));
        prop_assert_eq!(right(&a, &b), a == b);
        let padded = format!("{h:02}:{m:02}");
        prop_assert!(right(&a, &padded));
        let (morning, evening) = (format!("{a} am"), format!("{a} pm"));
        prop_assert!(!right(&morning, &evening));
        let spelled = format!("{a} A.M.");
        prop_assert!(right(&morning, &spelled));
        let quotient = format!("{h}/{}", m.max(1));
        prop_assert!(!right(&a, &quotient));
        let sentence = format!("The train leaves at {a}.");
        prop_assert_eq!(right_within("prose", &b, &sentence), a == b);
        let (ratio, twice) = (format!("${}:{}$", h + 1, m + 1), format!("${}:{}$", 2 * h + 2, 2 * m + 2));
        prop_assert!(right(&ratio, &twice));
    }

    #[test]
    fn a_date_is_only_the_same_date(year in 1900u32..2100, month in 1u32..13, day in 1u32..29) {
        let date = format!("{year}-{month:02}-{day:02}");
        let turned = format!("{year}-{day:02}-{month:02}");
        prop_assert_eq!(right(&date, &turned), date == turned);
        let short = format!("{year}-{month}-{day}");
        prop_assert!(right(&date, &short));
        let difference = (year - month - day).to_string();
        for within in ["answer", "prose"] {
            prop_assert!(!right_within(within, &date, &difference));
            prop_assert!(!right_within(within, &difference, &date));
        }
        let (slashes, quotient) = (format!("{month:02}/{day:02}/{year}"), format!("{month}/{}", day * year));
        prop_assert!(!right(&slashes, &quotient));
        let sum = (year - month).to_string();
        let spaced = format!("{year} - {month}");
        prop_assert!(right(&sum, &spaced));
    }

    #[test]
    fn letters_and_digits_keep_their_order(
        (code, other) in "[A-Z]{1,3}[0-9]{1,3}[A-Z]{0,2}".prop_flat_map(|code| { let other = shuffled(&code); (Just(code), other) }),
    ) {
        prop_assert!(right(&code, &code.to_lowercase()));
        for form in [format!("\\text{{{code}}}"), format!("\\boxed{{{code}}}"), format!("{code}.")] {
            prop_assert!(right(&code, &form), "{}", form);
        }
        prop_assert_eq!(right(&code, &other), code == other);
    }

    #[test]
    fn a_name_of_a_function_with_a_digit_behind_is_a_code(name in prop::sample::select(vec!["PI", "LOG", "SIN", "MU"]), digits in 1u32..99) {
        let (code, turned) = (format!("{name}{digits}YB"), format!("{digits}{name}YB"));
        prop_assert!(right(&code, &code.to_lowercase()));
        prop_assert!(!right(&code, &turned));
    }

    #[test]
    fn words_behind_a_number_keep_their_order(number in 1u32..50, (word, other) in "[a-z]{3,6}".prop_flat_map(|word| { let other = shuffled(&word); (Just(word), other) })) {
        // A unit is not looked at.
        let (a, b) = (format!("{number} on {word}"), format!("{number} on {other}"));
        prop_assume!(!["and", "or", "inf"].iter().any(|part| a.contains(part) || b.contains(part)));
        prop_assert_eq!(right(&a, &b), word == other);
    }

    #[test]
    fn text_commands_around_a_number_or_all_of_an_answer_are_not_there(
        number in prop_oneof![(-500i32..500).prop_map(|number| number.to_string()), (1u32..500, 2u32..9).prop_map(|(a, b)| format!("{a}/{b}")), (0u32..90, 0u32..99).prop_map(|(a, b)| format!("{a}.{b}"))],
        command in prop::sample::select(vec!["text", "textbf", "textit", "mathrm", "mathbf"]),
    ) {
        let bare = format!("\\{command}{{{number}}}");
        for answer in [format!("${bare}$"), format!("\\boxed{{{bare}}}"), format!("x = {bare}"), bare.clone()] {
            prop_assert!(right(&number, &answer), "{}", answer);
            prop_assert!(!right("501", &answer), "{}", answer);
        }
        let prose = format!("So it is ${bare}$");
        prop_assert!(right_within("prose", &number, &prose));
        prop_assert!(right(&bare, &number));
    }

    #[test]
    fn signs_of_unicode_are_what_they_stand_for(number in 0u32..100_000, power in 2u32..100, whole in 1u32..50, unit in prop::sample::select(vec!["m", "cm", "km", "s"])) {
        let map = |number: u32, from: &[char; 10]| -> String {
            number.to_string().bytes().map(|digit| from[usize::from(digit - b'0')]).collect()
        };
        let wide = map(number, &['０', '１', '２', '３', '４', '５', '６', '７', '８', '９']);
        prop_assert!(right(&number.to_string(), &wide));
        let raised = map(power, &['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹']);
        let (gold, answer) = (format!("x^{{{power}}}"), format!("x{raised}"));
        prop_assert!(right(&gold, &answer));
        let (gold, answer) = (format!("x^{{-{power}}}"), format!("x⁻{raised}"));
        prop_assert!(right(&gold, &answer));
        let squared = format!("{number} {unit}²");
        prop_assert!(right(&number.to_string(), &squared));
        for (sign, above, below) in [('½', 1, 2), ('⅓', 1, 3), ('¾', 3, 4), ('⅝', 5, 8)] {
            let (gold, answer) = (format!("{}/{below}", whole * below + above), format!("{whole}{sign}"));
            prop_assert!(right(&gold, &answer));
            let part = format!("{above}/{below}");
            prop_assert!(right(&part, &sign.to_string()));
            prop_assert!(!right(&part, &answer));
        }
    }

    #[test]
    fn a_number_with_an_exponent_is_that_number(digits in 1u32..1000, places in 0usize..12) {
        let number = format!("{digits}{}", "0".repeat(places));
        let fraction = format!("{digits}/1{}", "0".repeat(places));
        for answer in [format!("{digits}e{places}"), format!("{digits}E+{places}"), format!("{digits}.0e{places} people")] {
            prop_assert!(right(&number, &answer), "{} {}", number, answer);
            prop_assert!(!right(&format!("{number}1"), &answer), "{} {}", number, answer);
        }
        let answer = format!("{digits}e-{places}");
        prop_assert!(places > 6 || right(&fraction, &answer), "{} {}", fraction, answer);
    }
}
