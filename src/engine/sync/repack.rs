//! Repacking: which packs a run empties because the newest snapshot hardly uses them, and which files it reads for that.
//!
//! Owns the choice, its limits, and the lines of the plan. Such packs are *retired*: their pieces do not count as known,
//! so the contents that are read come into other packs. Nothing is downloaded and nothing is deleted: a retired pack
//! goes with the last snapshot that names it.
//! Invariant: an entry whose file is not read, or cannot be, keeps its place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::Utc;

use super::options::SyncOptions;
use crate::engine::destination::Destination;
use crate::engine::outcome::RepackOutcome;
use crate::engine::pack_use::{PackUse, each_pack, stored};
use crate::error::{Error, Result};
use crate::manifest::KnownStamps;
use crate::model::{Change, Content, Entry, Hash, Layout, Stamps, UnverifiedReason};
use crate::packs::StoredPack;
use crate::plan::{Estimate, Facts, Limits, Price};
use crate::spool::{Reader, Writer};
use crate::transfer::{Line, PackedTarget, Repacked};

/// Seconds between two looks for packs. Less than a day, because daily runs are not exactly a day apart.
const DAY: i64 = 20 * 3600;
/// A run sends so many bytes again, or this share of what is stored, whichever is more.
const BUDGET: u64 = 64 << 20;
const SHARE: u64 = 50;
/// It reads unchanged files of so many times these bytes at most.
const READ: u64 = 16;
/// Besides packs of which less than half is used, those below this share are retired, too, in percent. But only as long as
/// the packs of the newest snapshot have more unused bytes than this share of the used ones. So packs of one age are not
/// all retired on one day.
const WORN: u64 = 70;
const UNUSED: u64 = 40;
/// A pack with fewer unused bytes is not worth it. What surrounds the frames of a small pack is less.
const WORTH: u64 = 4 << 10;
/// A pack that is shorter is small, and so many small ones may be.
const SMALL: u64 = 4 << 20;
const MANY: usize = 64;
/// Length of a full pack.
const PACK: u64 = 16 << 20;

/// What a run repacks.
#[derive(Debug, Clone, Default)]
pub struct Repack {
    /// The packs that are retired.
    pub packs: BTreeSet<Hash>,
    /// Unchanged files that are read for it.
    pub files: u64,
    /// Bytes of these files.
    pub read: u64,
    /// Bytes of the packs that are in use, and are sent again.
    pub bytes: u64,
    /// The run has looked for such packs, so the next look is due in a day.
    looked: bool,
}

/// What the choice depends on, besides the destination.
struct RepackRequest<'a> {
    /// The finished plan of the run, and its sums.
    plan: &'a Path,
    facts: &'a Facts,
    cost: f64,
    limits: &'a Limits,
    price: &'a Price,
}

/// Chooses what a run repacks at a destination. `plan` is its finished plan. Nothing if the last look was less than a day
/// ago. Sends no request, unless this machine does not know the lengths of all packs: then it lists them. A backup does
/// not fail for it.
pub async fn choose(options: &SyncOptions, destination: &Destination, plan: &Path, (facts, cost): (&Facts, f64)) -> Repack {
    let SyncOptions { limits, price, .. } = options;
    let now = destination.backend.meter().clock().unwrap_or_else(Utc::now).timestamp();
    let Some(days) = destination.repack_after.filter(|_| is_due(destination, now)) else { return Repack::default() };
    let request = RepackRequest { plan, facts, cost, limits, price };
    chosen(Choice { destination, request, now, days }).await.unwrap_or_else(|error| {
        tracing::info!(target: "offsite::run", %error, "no packs are repacked");
        Repack::nothing()
    })
}

async fn chosen(choice: Choice<'_>) -> Result<Repack> {
    let mut candidates = tokio::task::block_in_place(|| choice.candidates())?;
    if candidates.unknown > 0 {
        list_packs(choice.destination).await?;
        candidates = tokio::task::block_in_place(|| choice.candidates())?;
    }
    tokio::task::block_in_place(|| {
        forget_others(choice.destination, candidates.packs)?;
        if candidates.is_empty() { Ok(Repack::nothing()) } else { choice.of(&candidates) }
    })
}

impl Repack {
    /// The run has looked, and repacks nothing.
    fn nothing() -> Self {
        Self { looked: true, ..Self::default() }
    }

    /// Whether there is anything to repack.
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }

    /// Adds the files to read to the plan. Only this destination reads them. If that fails, nothing is repacked. Blocks.
    pub fn added_to(self, destination: &Destination, plan: &Path, index: usize) -> Self {
        if self.is_empty() {
            return self;
        }
        match tokio::task::block_in_place(|| self.add_to(destination, plan, index)) {
            Ok(()) => self,
            Err(error) => {
                tracing::info!(target: "offsite::run", %error, "no packs are repacked");
                Self::nothing()
            }
        }
    }

    fn add_to(&self, destination: &Destination, plan: &Path, index: usize) -> Result<()> {
        let temp = plan.with_extension("repack");
        let mut out = Writer::<Line>::create(&temp)?;
        weave(destination, plan, |entry, line| {
            let Some((old, stamps)) = entry else { return line.map_or(Ok(()), |line| out.push(&line)) };
            let stamps = match (&line, stamps) {
                _ if !lies_in(&old, |pack| self.packs.contains(pack)) => None,
                (None, KnownStamps::At(stamps)) => Some(stamps),
                (None, _) => Some(Stamps::default()),
                (Some(Line { step: Change::Stamped { stamps, .. }, .. }), _) => Some(*stamps),
                (Some(_), _) => None,
            };
            match (stamps, line) {
                (Some(stamps), _) => out.push(&Line::new(repacked(old, stamps), 1 << index)),
                (None, Some(line)) => out.push(&line),
                (None, None) => Ok(()),
            }
        })?;
        out.flush()?;
        std::fs::rename(&temp, plan).map_err(|e| Error::local(plan, e))
    }

    /// Makes a run send the contents of these packs again.
    pub fn retire(&self, mut packed: PackedTarget) -> PackedTarget {
        self.packs.iter().for_each(|pack| packed.known.retire(pack));
        packed
    }

    /// What a run has done. `None` if it repacked nothing.
    pub fn outcome(&self, repacked: Repacked) -> Option<RepackOutcome> {
        let Repacked { files, bytes } = repacked;
        (!self.is_empty()).then_some(RepackOutcome { packs: self.packs.len() as u64, files, bytes })
    }

    /// What a run would do. `None` if it would repack nothing.
    pub fn planned(&self) -> Option<RepackOutcome> {
        (!self.is_empty()).then_some(RepackOutcome { packs: self.packs.len() as u64, files: self.files, bytes: self.bytes })
    }

    /// Notes that the run has looked. The next commit keeps that.
    pub fn note_look(&self, destination: &mut Destination) {
        let now = destination.backend.meter().clock().unwrap_or_else(Utc::now).timestamp();
        if let Some(head) = destination.head.as_mut().filter(|_| self.looked) {
            head.repacked = now;
        }
    }
}

/// Whether the last look was a day ago. A machine that does not know it waits a day after the last snapshot.
fn is_due(destination: &Destination, now: i64) -> bool {
    let Some(head) = destination.head.as_ref().filter(|head| head.snapshot.is_some()) else { return false };
    let last = match head.repacked {
        0 => head.list.last().map_or(0, |newest| newest.time),
        known => known,
    };
    // A clock that was wrong once must not put it off for years.
    destination.layout() == Layout::Packed && now.saturating_sub(last).saturating_abs() >= DAY
}

/// Notes the lengths of all packs that the destination has.
async fn list_packs(destination: &Destination) -> Result<()> {
    let (path, mut out) = (destination.local("packs-listed"), None);
    destination
        .records
        .each_pack(|pack, bytes, written| {
            let out = match &mut out {
                Some(out) => out,
                none => none.insert(Writer::<StoredPack>::create(&path)?),
            };
            out.push(&StoredPack { pack, bytes, raw: 0, written })
        })
        .await?;
    let Some(mut out) = out else { return Ok(()) };
    out.flush()?;
    let copied = stored(destination).replace(|all| {
        let mut listed = Reader::<StoredPack>::open(&path)?;
        while let Some(one) = listed.next_line()? {
            all.push(&one)?;
        }
        Ok(())
    });
    let _ = std::fs::remove_file(&path);
    copied
}

/// Forgets the packs that the newest snapshot does not name, if they are many. None of them comes back.
fn forget_others(destination: &Destination, named: u64) -> Result<()> {
    const FEW: u64 = 1_000;
    let mut all = stored(destination);
    if !all.is_longer_than(named.saturating_mul(2) + FEW) {
        return Ok(());
    }
    all.replace(|out| each_pack(destination, |one| out.push(&one.stored)).map(drop))
}

/// The line of a file that is read to send its content again.
fn repacked(old: Entry, stamps: Stamps) -> Change {
    let entry = Entry { content: None, ..old.clone() };
    Change::Changed { entry, stamps, old, unverified: Some(UnverifiedReason::Repack) }
}

fn lies_in(entry: &Entry, is_one: impl Fn(&Hash) -> bool) -> bool {
    entry.content.as_ref().is_some_and(|content| content.packs().any(is_one))
}

/// Merges the newest manifest and a plan: hands every entry that is in packs to `take`, with its line if it has one, and
/// every other line. Paths ascend.
fn weave(
    destination: &Destination,
    plan: &Path,
    mut take: impl FnMut(Option<(Entry, KnownStamps)>, Option<Line>) -> Result<()>,
) -> Result<()> {
    let mut lines = Reader::<Line>::open(plan)?;
    let mut next = lines.next_line()?;
    let mut base = destination.base()?;
    while let Some(known) = base.peek()? {
        let (entry, stamps) = (known.entry()?, known.stamps());
        base.advance();
        while let Some(line) = next.take_if(|line| line.step.path().as_bytes() < entry.path.as_bytes()) {
            take(None, Some(line))?;
            next = lines.next_line()?;
        }
        let line = next.take_if(|line| line.step.path() == &entry.path);
        if line.is_some() {
            next = lines.next_line()?;
        }
        let packed = entry.content.as_ref().is_some_and(Content::is_packed);
        take(packed.then_some((entry, stamps)), line)?;
    }
    while let Some(line) = next {
        take(None, Some(line))?;
        next = lines.next_line()?;
    }
    Ok(())
}

/// Whether less than this share of a pack is used, in percent.
fn is_below(one: &PackUse, percent: u64) -> bool {
    u128::from(one.living) * 100 < u128::from(one.stored.bytes) * u128::from(percent)
}

/// Packs that could be retired.
#[derive(Default)]
struct Candidates {
    /// Those that are used least first.
    dead: Vec<PackUse>,
    /// Small, the smallest first. Empty if there are few.
    small: Vec<PackUse>,
    /// Number of all packs that the newest snapshot names.
    packs: u64,
    /// Their bytes, and how many of them it uses.
    stored: u64,
    used: u64,
    unknown: u64,
}

impl Candidates {
    fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.small.is_empty()
    }
}

struct Choice<'a> {
    destination: &'a Destination,
    request: RepackRequest<'a>,
    now: i64,
    /// How many days old a pack must be.
    days: u64,
}

impl Choice<'_> {
    fn candidates(&self) -> Result<Candidates> {
        let least = i64::try_from(self.days).unwrap_or(i64::MAX).saturating_mul(86_400);
        let mut all = Candidates::default();
        all.unknown = each_pack(self.destination, |one| {
            all.packs += 1;
            all.stored = all.stored.saturating_add(one.stored.bytes);
            all.used = all.used.saturating_add(one.living);
            if self.now.saturating_sub(one.stored.written) < least {
                return Ok(());
            }
            if is_below(&one, WORN) && one.dead() >= WORTH {
                all.dead.push(one);
            } else if one.stored.bytes < SMALL {
                all.small.push(one);
            }
            Ok(())
        })?;
        if all.small.len() <= MANY {
            all.small.clear();
        }
        all.dead
            .sort_by(|a, b| (u128::from(a.living) * u128::from(b.stored.bytes)).cmp(&(u128::from(b.living) * u128::from(a.stored.bytes))));
        all.small.sort_by_key(|one| one.stored.bytes);
        let mut unused = all.stored.saturating_sub(all.used);
        all.dead.retain(|one| {
            let stays = is_below(one, 50) || u128::from(unused) * 100 > u128::from(all.used) * u128::from(UNUSED);
            unused = unused.saturating_sub(if stays { one.dead() } else { 0 });
            stays
        });
        Ok(all)
    }

    /// How many bytes may be sent again.
    fn budget(&self, stored: u64) -> u64 {
        let RepackRequest { facts, cost, limits, price, .. } = &self.request;
        let mut budget = BUDGET.max(stored / SHARE);
        if let Some(most) = limits.max_bytes {
            budget = budget.min(most.saturating_sub(facts.bytes));
        }
        // The lease, the pages and a pack of lists besides.
        let puts = |bytes: u64| Estimate { put: 5 + bytes.div_ceil(PACK), ..Estimate::default() };
        let affordable = limits.max_cost.is_none_or(|most| cost + price.requests(&puts(budget)) <= most);
        if affordable { budget } else { 0 }
    }

    /// Takes candidates as long as what they cost is within the budget.
    fn of(&self, candidates: &Candidates) -> Result<Repack> {
        let read = self.reads(candidates)?;
        let budget = self.budget(candidates.stored);
        let mut repack = Repack::nothing();
        let (mut left, mut to_read) = (budget, budget.saturating_mul(READ));
        for one in candidates.dead.iter().chain(&candidates.small) {
            let reads = read.get(&one.stored.pack).copied().unwrap_or(0);
            if one.living <= left && reads <= to_read {
                (left, to_read) = (left - one.living, to_read - reads);
                repack.packs.insert(one.stored.pack);
                repack.bytes += one.living;
            }
        }
        // One small pack in place of one is no gain.
        let chosen = |one: &PackUse| repack.packs.contains(&one.stored.pack);
        if !candidates.dead.iter().any(chosen) && repack.packs.len() < 2 {
            return Ok(Repack::nothing());
        }
        weave(self.destination, self.request.plan, |entry, line| {
            if let Some((entry, _)) =
                entry.filter(|(entry, _)| is_read(line.as_ref()) && lies_in(entry, |pack| repack.packs.contains(pack)))
            {
                repack.files += 1;
                repack.read = repack.read.saturating_add(entry.size);
            }
            Ok(())
        })?;
        Ok(repack)
    }

    /// How many bytes of unchanged files are to be read to empty each candidate.
    fn reads(&self, candidates: &Candidates) -> Result<BTreeMap<Hash, u64>> {
        let mut read: BTreeMap<Hash, u64> = candidates.dead.iter().chain(&candidates.small).map(|one| (one.stored.pack, 0)).collect();
        weave(self.destination, self.request.plan, |entry, line| {
            let Some((entry, _)) = entry.filter(|_| is_read(line.as_ref())) else { return Ok(()) };
            let packs: BTreeSet<&Hash> = entry.content.iter().flat_map(Content::packs).collect();
            for pack in packs {
                if let Some(bytes) = read.get_mut(pack) {
                    *bytes = bytes.saturating_add(entry.size);
                }
            }
            Ok(())
        })?;
        Ok(read)
    }
}

/// Whether repacking reads a file with this line in the plan. One that changed is read anyway. One that was renamed, or of
/// which only metadata changed, keeps its place.
fn is_read(line: Option<&Line>) -> bool {
    line.is_none_or(|line| matches!(line.step, Change::Stamped { .. }))
}
