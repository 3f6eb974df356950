//! Sets of CPUs, as the kernel lists them (`0-3,8`) and as its affinity calls take them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Some of a machine's CPUs, by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuSet {
    /// One bit for each CPU, in words of the size of C's `unsigned long`; the last word is not 0.
    words: Vec<usize>,
}

/// A text is no list of CPUs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no list of CPUs, as \"0-3,8\"")]
pub struct NoCpuList(String);

impl CpuSet {
    /// Reads the kernel's list format (cpuset(7)): numbers and ranges, separated by commas.
    ///
    /// # Errors
    /// Anything else, an empty text too, and numbers above 65535, which no machine has.
    pub fn parse(text: &str) -> Result<Self, NoCpuList> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|_| digits)
        };
        let mut set = Self::default();
        for part in text.trim().split(',') {
            let range = match part.split_once('-') {
                Some((from, to)) => number(from).zip(number(to)),
                None => number(part).map(|cpu| (cpu, cpu)),
            };
            let Some((from, to)) = range.filter(|(from, to)| from <= to) else {
                return Err(NoCpuList(text.into()));
            };
            (from..=to).for_each(|cpu| set.insert(cpu.into()));
        }
        Ok(set)
    }

    /// The set that a kernel's mask means (sched_getaffinity(2)).
    #[must_use]
    pub fn from_words(mut words: Vec<usize>) -> Self {
        while words.last() == Some(&0) {
            words.pop();
        }
        Self { words }
    }

    /// The set as sched_setaffinity(2) takes it.
    #[must_use]
    pub fn words(&self) -> &[usize] {
        &self.words
    }

    fn insert(&mut self, cpu: usize) {
        let (word, bit) = (cpu / usize::BITS as usize, cpu % usize::BITS as usize);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    /// Whether no CPU is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The CPUs that are in this set and not in the other one.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        Self::from_words(self.words.iter().zip(others).map(|(ours, theirs)| ours & !theirs).collect())
    }

    /// The numbers, from the lowest on.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let bits = usize::BITS as usize;
        let word = move |(n, word): (usize, &usize)| {
            let word = *word;
            (0..bits).filter(move |bit| word >> bit & 1 == 1).map(move |bit| n * bits + bit)
        };
        self.words.iter().enumerate().flat_map(word)
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while cpus.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            match last {
                _ if last == first => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

impl TryFrom<String> for CpuSet {
    type Error = NoCpuList;

    fn try_from(text: String) -> Result<Self, NoCpuList> {
        Self::parse(&text)
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> Self {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_as_the_kernel_does() {
        for (text, shown) in [
            ("0", "0"),
            ("0-3,8", "0-3,8"),
            ("8,0,1,2-3", "0-3,8"),
            ("0,1", "0-1"),
            ("63-64", "63-64"),
            ("5,5-6\n", "5-6"),
            ("65535", "65535"),
        ] {
            assert_eq!(CpuSet::parse(text).expect(text).to_string(), shown);
        }
        for text in ["", ",", "0,", "3-1", "-1", "+1", "0x1", "65536", "a", "1 2"] {
            assert!(CpuSet::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mask_is_a_set_whatever_its_length() {
        let set = CpuSet::parse("0,2").expect("a list");
        assert_eq!(CpuSet::from_words(vec![5, 0, 0]), set);
        assert_eq!(set.words(), [5]);
        let both = CpuSet::parse("0-2,100").expect("a list");
        assert_eq!(both.without(&set).to_string(), "1,100");
        assert!(set.without(&both).is_empty());
    }
}
