//! The times of a schedule, in the notations of systemd and cron.
//!
//! Owns the two notations. Times are in the machine's own zone, as both expect them.

/// How often a schedule runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// At this minute of each hour.
    Hourly(u32),
    /// At this hour and minute.
    Daily(u32, u32),
    /// On this day (0 is Sunday) at this hour and minute.
    Weekly(u32, u32, u32),
}

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
/// The rest of each name when it is written in full.
const RESTS: [&str; 7] = ["day", "day", "sday", "nesday", "rsday", "day", "urday"];

impl Rhythm {
    /// The value of `OnCalendar=`.
    pub fn calendar(self) -> String {
        match self {
            Self::Hourly(minute) => format!("*-*-* *:{minute:02}:00"),
            Self::Daily(hour, minute) => format!("*-*-* {hour:02}:{minute:02}:00"),
            Self::Weekly(day, hour, minute) => format!("{} *-*-* {hour:02}:{minute:02}:00", DAYS[day as usize % 7]),
        }
    }

    /// The first five fields of a crontab line, for a run `later` minutes after the time.
    pub fn fields(self, later: u32) -> String {
        let at = |hour: u32, minute: u32| {
            let all = hour * 60 + minute + later;
            (all / 60 / 24, all / 60 % 24, all % 60)
        };
        match self {
            Self::Hourly(minute) => format!("{} * * * *", (minute + later) % 60),
            Self::Daily(hour, minute) => {
                let (_, hour, minute) = at(hour, minute);
                format!("{minute} {hour} * * *")
            }
            Self::Weekly(day, hour, minute) => {
                let (days, hour, minute) = at(hour, minute);
                format!("{minute} {hour} * * {}", (day + days) % 7)
            }
        }
    }

    /// A weekday and a time: `Sun 03:00`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn weekly(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a day and time; write Sun 03:00");
        let (day, time) = text.split_once(' ').ok_or_else(wrong)?;
        let is_day = |(known, rest): (&&str, &str)| day.eq_ignore_ascii_case(known) || day.eq_ignore_ascii_case(&format!("{known}{rest}"));
        let day = DAYS.iter().zip(RESTS).position(is_day).ok_or_else(wrong)?;
        let (hour, minute) = time_of_day(time)?;
        Ok(Self::Weekly(day as u32, hour, minute))
    }
}

/// `03:00` as hour and minute.
///
/// # Errors
/// What is wrong, in words.
pub fn time_of_day(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("`{text}` is not a time of day; write 03:00");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str, below: u32| text.parse::<u32>().ok().filter(|n| *n < below && text.len() <= 2);
    if minute.len() != 2 {
        return Err(wrong());
    }
    Ok((number(hour, 24).ok_or_else(wrong)?, number(minute, 60).ok_or_else(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_mean_the_same() {
        let weekly = Rhythm::weekly("Saturday 23:50").unwrap();
        assert_eq!((weekly.calendar().as_str(), weekly.fields(0).as_str()), ("Sat *-*-* 23:50:00", "50 23 * * 6"));
        assert_eq!(weekly.fields(20), "10 0 * * 0", "over midnight it is the next day");
        assert_eq!((Rhythm::Daily(3, 0).calendar().as_str(), Rhythm::Daily(3, 0).fields(29).as_str()), ("*-*-* 03:00:00", "29 3 * * *"));
        assert_eq!((Rhythm::Hourly(5).calendar().as_str(), Rhythm::Hourly(55).fields(10).as_str()), ("*-*-* *:05:00", "5 * * * *"));
        for text in ["24:00", "3", "3:60", "x:y", "003:00", "3:0"] {
            assert!(time_of_day(text).is_err(), "{text}");
        }
        assert!(Rhythm::weekly("So 03:00").is_err() && Rhythm::weekly("Sunday").is_err());
        assert!(Rhythm::weekly("Sunxyz 03:00").is_err() && Rhythm::weekly("Süß 03:00").is_err());
        for (at, day) in ["Sunday", "monday", "Tuesday", "WEDNESDAY", "Thursday", "Friday", "Saturday"].iter().enumerate() {
            assert_eq!(Rhythm::weekly(&format!("{day} 03:00")), Ok(Rhythm::Weekly(at as u32, 3, 0)));
        }
    }
}
