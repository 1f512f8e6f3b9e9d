use proptest::prelude::*;

use super::gives;

/// The option that a text names, which is the solution it is right for.
fn option(text: &str) -> Option<char> {
    let right: Vec<char> = ('A'..='Z')
        .filter(|letter| gives("choice(completion, solution)", text, &letter.to_string()) == Some(1.0))
        .collect();
    assert!(right.len() < 2, "{text:?} is right for {right:?}");
    right.first().copied()
}

/// Holds of each of several texts, which `¦` divides; `⏎` is a line's end.
#[track_caller]
fn says(expected: Option<char>, texts: &str) {
    let texts = texts.split('¦').map(|text| text.trim().replace('⏎', "\n"));
    let others: Vec<_> = texts.map(|text| (option(&text), text)).filter(|(said, _)| *said != expected).collect();
    assert!(others.is_empty(), "not {expected:?}: {others:?}");
}

#[test]
fn a_marked_letter_is_the_option_however_it_is_marked() {
    says(
        Some('B'),
        r#"B ¦ b ¦ B. ¦ b. ¦ (B) ¦ (b) ¦ [B] ¦ [b] ¦ {B} ¦ 'B' ¦ 'b' ¦ "B" ¦ “b” ¦ ‘B’ ¦ B) ¦ b) ¦ B: ¦ b: ¦ **B** ¦
           **b** ¦ *B* ¦ __b__ ¦ `b` ¦ $B$ ¦ $b$ ¦ \boxed{B} ¦ \boxed{b} ¦ \boxed{\text{B}} ¦ $\boxed{\textbf{(b)}}$ ¦
           \(B\) ¦ \[B\] ¦ \text{b} ¦ \mathrm{B} ¦ \boxed {B} ¦ \fbox{B}. ¦ （B） ¦ （ｂ） ¦ Ｂ． ¦ Ｂ ¦ 【B】 ¦ 「b」 ¦ 《B》 ¦ B。 ¦
           答案是B。 ¦ 答案：B ¦ 答案：b ¦ 选B ¦ 选择b项 ¦ 正确答案是 B ¦ 我认为B是对的 ¦ <b>B</b> ¦ The answer is B. ¦ The answer is (b). ¦
           Answer: B ¦ Answer: b ¦ answer is b ¦ Option b ¦ ANSWER = B ¦ Option B ¦ The correct choice is (B). ¦
           So it must be b) then ¦ The answer is $\boxed{B}$. ¦ I think (b) ¦ B, the left one ¦ b, left ¦ It's B ¦
           I'd say B ¦ Choice: **B** ¦ My final answer: B! ¦ B? ¦ Ⓑ ¦ ⒝ ¦ ⓑ. ¦ <B> ¦ <b>"#,
    );
}

#[test]
fn what_follows_the_marked_letter_at_the_beginning_is_its_text() {
    says(
        Some('B'),
        r#"B. A cat on a mat ¦ (B) A dog and a cat ¦ b) left ¦ B) a red cube ¦ B: Vitamin C ¦ B、红色 ¦ B．红色 ¦
           B. Plan C is dropped ¦ B⏎A red cube is there ¦ B - a cube ¦ B – A cube ¦ B—a cube ¦ **B.** A cat ¦
           **B**: A cat ¦ "B" A cat ¦ \boxed{B. A cat} ¦ \boxed{\text{B) a cat}} ¦ Answer: B. A cat ¦
           The answer is B) Vitamin C ¦ Option B: a cat ¦ 答案：B、一只猫 ¦ [B] A cat ¦ B.A cat ¦ b.left ¦ B. 5 a.m. or 6 p.m. ¦
           B. e.g. a cat ¦ B. It's a cat's ¦ B. A cat (a small one) ¦ （B）一只猫 ¦ B) B is right ¦ B. A and C ¦ B. A, C and D ¦ B. Both A and C ¦ B. The cube (A) is left of (C) ¦
           B) left, as in A) ¦ B. He is in Group D. They won. ¦ (B) because A is a dog"#,
    );
    says(
        Some('A'),
        r#"A. A cube ¦ a. a cube ¦ A) a cube ¦ (A) A cube ¦ A is correct ¦ Option A is correct ¦
           The answer is A because it fits"#,
    );
}

#[test]
fn what_names_two_names_none_and_an_article_is_no_option() {
    says(
        None,
        r#" ¦   ¦ ? ¦ A or B ¦ b or c ¦ A, B ¦ a, b ¦ (A) (B) (C) (D) ¦ (a) or (b) ¦ A. B. ¦ A. B. C. D. ¦
           A) left B) right ¦ A: red, B: blue ¦ a) left b) right ¦ A、B ¦ A和B ¦ A或B都可以 ¦ Not B, so D ¦ A/B ¦ A-B ¦
           A and B ¦ B. or C. ¦ A & B ¦ A cube ¦ A big cube ¦ a small cube ¦ A tall man ¦ Answer: A cube ¦
           The answer is a cube ¦ "A cube" ¦ (a cube) ¦ **A cube** ¦ \boxed{A cube} ¦ \text{a cube} ¦ red cube ¦ bed ¦
           cab ¦ B2 ¦ 2B ¦ H2O ¦ e.g. the left one ¦ I think so ¦ don't know ¦ I'd rather not ¦ e-mail ¦ 60 km/h ¦
           C-shaped ¦ c est la vie ¦ the cat's"#,
    );
}

#[test]
fn letters_behind_h_count_alone_marked_or_where_the_solution_is_one() {
    assert_eq!(option("I"), Some('I'));
    assert_eq!(option("(J)"), Some('J'));
    assert_eq!(option("J. A cat"), Some('J'));
    assert_eq!(option("it must be J"), Some('J'));
    assert_eq!(option("I think it is J"), Some('J'));
    assert_eq!(option("the X axis of B"), Some('B'));
}

/// Everything a letter can be put in, `B` standing for it.
const DRESSES: &str = r#"B. ¦ B) ¦ B: ¦ (B) ¦ [B] ¦ {B} ¦ 'B' ¦ "B" ¦ “B” ¦ $B$ ¦ \boxed{B} ¦ \text{B} ¦ \boxed{\text{B}} ¦
    $\boxed{B}$ ¦ **B** ¦ （B） ¦ B． ¦ B） ¦ B： ¦ B、 ¦ 「B」 ¦ B。 ¦ Answer: B ¦ 答案是B ¦ 答案：B。"#;

/// Words that no noun phrase begins with, as far as the texts below can hold them.
const FUNCTION_WORDS: &[&str] = &[
    "is",
    "or",
    "nor",
    "since",
    "by",
    "due",
    "for",
    "from",
    "if",
    "in",
    "on",
    "of",
    "to",
    "with",
    "without",
    "but",
    "not",
    "so",
    "which",
    "where",
    "when",
    "while",
    "it",
    "its",
    "the",
    "this",
    "there",
    "you",
    "we",
    "they",
    "seems",
    "should",
    "would",
    "will",
    "could",
    "must",
    "might",
    "does",
    "did",
    "then",
    "over",
    "only",
    "here",
    "too",
    "shows",
    "fits",
    "looks",
    "describes",
    "represents",
    "follows",
    "completes",
    "works",
];

proptest! {
    #[test]
    fn every_dress_of_a_letter_says_the_letter(
        letter in prop::char::range('A', 'H'),
        dress in prop::sample::select(DRESSES.split('¦').map(str::trim).collect::<Vec<_>>()),
        small in any::<bool>(),
    ) {
        let written = if small { letter.to_ascii_lowercase() } else { letter };
        let text = dress.replace('B', &written.to_string());
        prop_assert_eq!(option(&text), Some(letter), "{}", &text);
        let wide = dress.replace('B', &char::from_u32(u32::from(written) + 0xFEE0).unwrap().to_string());
        prop_assert_eq!(option(&wide), Some(letter), "{}", &wide);
    }

    #[test]
    fn the_text_of_an_option_names_no_other(
        letter in prop::char::range('A', 'H'),
        mark in prop::sample::select(&[". ", ") ", ": ", "、", "． ", "： "][..]),
        words in "(A |a )?[b-z]{2,6}( [A-Z]?[a-z]{2,6}){0,3}( A| a)? [b-z]{3,6}",
        small in any::<bool>(),
    ) {
        let written = if small { letter.to_ascii_lowercase() } else { letter };
        let text = format!("{written}{mark}{words}");
        // `B. or A …` lists options, and `A is …` names one.
        prop_assume!(!words.split(' ').any(|word| FUNCTION_WORDS.contains(&word.to_lowercase().as_str())));
        prop_assert_eq!(option(&text), Some(letter), "{}", &text);
    }

    #[test]
    fn two_letters_name_none(
        a in prop::char::range('A', 'H'),
        b in prop::char::range('A', 'H'),
        between in prop::sample::select(&[" or ", ", ", " and ", "/", " "][..]),
    ) {
        prop_assume!(a != b);
        for (left, right) in [("", ""), ("(", ")"), ("\\boxed{", "}"), ("**", "**"), ("$", "$"), ("'", "'"), ("（", "）")] {
            let text = format!("{left}{a}{right}{between}{left}{b}{right}");
            prop_assert_eq!(option(&text), None, "{}", &text);
        }
    }

    #[test]
    fn an_article_is_no_option(noun in "[b-z]{3,8}", article in prop::sample::select(&["A", "a"][..])) {
        prop_assume!(!FUNCTION_WORDS.contains(&noun.as_str()));
        prop_assert_eq!(option(&format!("{article} {noun}")), None);
        prop_assert_eq!(option(&format!("It is {article} {noun}.")), None);
    }

    #[test]
    fn any_text_is_read(text in "\\PC{0,24}|[AaBb.():'$\\\\{} -]{0,16}") {
        let _ = option(&text);
    }
}
