//! Chooses the simulcast layer of a viewer: no larger than it is shown, than its path carries, than the node can
//! afford. Pure.

/// The size at which a viewer shows a video, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl View {
    pub(crate) fn is_hidden(self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// The worth of the picture to its viewer, to shed the least first: its area. A viewer that never said its size is
    /// taken to show it large.
    pub(crate) fn worth(view: Option<View>) -> u64 {
        view.map_or(u64::from(u32::MAX), |view| u64::from(view.width) * u64::from(view.height))
    }
}

/// The measured state of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Of its last key frame, where the codec shows it.
    pub(crate) size: Option<(u32, u32)>,
    /// In the last second.
    pub(crate) bits_per_s: u64,
}

impl Seen {
    /// A browser pauses the layers that its own path doesn't carry.
    fn is_sent(&self) -> bool {
        self.bits_per_s > 0
    }
}

/// The steps by which a node under load sends less to a viewer, the smallest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Shed {
    #[default]
    Nothing,
    /// The smallest layer only.
    LargeLayers,
    Video,
    /// The viewer gets nothing until the load is less.
    All,
}

/// The input of the layer choice for a viewer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) view: Option<View>,
    /// Bits in a second that the path is estimated to carry.
    pub(crate) budget: Option<u64>,
    pub(crate) shed: Shed,
    /// The layer that is sent now.
    pub(crate) current: Option<usize>,
}

/// A layer, and the next better one if the path doesn't carry it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) layer: Option<usize>,
    /// The rate of the layer that fits the view, or of the next step there: the rate that the estimate has to reach.
    pub(crate) wanted_bits_per_s: u64,
    pub(crate) next_bits_per_s: Option<u64>,
}

/// A picture may be shown this much larger than it is: in percent. Nobody sees it, and the next layer costs four times
/// as much.
const STRETCH_PERCENT: u64 = 125;
/// The largest layer where the codec doesn't show its size; each other is half of the next.
const ASSUMED: (u32, u32) = (1_280, 720);
/// A larger layer is begun only when the estimate exceeds its rate by this much, in percent: rates and estimates vary.
const ROOM_PERCENT: u64 = 115;

pub(crate) fn choose(layers: &[Seen], wish: Wish) -> Choice {
    let nothing = Choice { layer: None, wanted_bits_per_s: 0, next_bits_per_s: None };
    if wish.view.is_some_and(View::is_hidden) || wish.shed >= Shed::Video || layers.is_empty() {
        return nothing;
    }
    let mut order: Vec<usize> = (0..layers.len()).filter(|index| layers[*index].is_sent()).collect();
    if order.is_empty() {
        // Nothing came yet: whatever comes first.
        return Choice { layer: wish.current.filter(|index| *index < layers.len()).or(Some(0)), ..nothing };
    }
    let sizes_known = order.iter().all(|index| layers[*index].size.is_some());
    order.sort_by_key(|index| match (sizes_known, layers[*index].size) {
        (true, Some((width, height))) => u64::from(width) * u64::from(height),
        _ => layers[*index].bits_per_s,
    });
    let largest = order.len() - 1;
    let size = |place: usize| match layers[order[place]].size {
        Some(size) if sizes_known => size,
        _ => (ASSUMED.0 >> (largest - place).min(8), ASSUMED.1 >> (largest - place).min(8)),
    };
    let fits = match (wish.shed, wish.view) {
        (Shed::Nothing, Some(view)) => (0..=largest).find(|place| covers(size(*place), view)).unwrap_or(largest),
        (Shed::Nothing, None) => largest,
        _ => 0,
    };
    let place = affordable(layers, &order[..=fits], wish);
    let bits = |place: usize| layers[order[place]].bits_per_s;
    Choice {
        layer: Some(order[place]),
        wanted_bits_per_s: bits(fits),
        next_bits_per_s: (place < fits).then(|| bits(place + 1)),
    }
}

/// The best of the layers, from small to large, that the path carries; the smallest when it carries none.
fn affordable(layers: &[Seen], order: &[usize], wish: Wish) -> usize {
    let largest = order.len() - 1;
    let Some(budget) = wish.budget else { return largest };
    let current = wish.current.and_then(|current| order.iter().position(|index| *index == current));
    let carried = |place: usize| {
        let bits = layers[order[place]].bits_per_s;
        let needed = if current.is_some_and(|current| place <= current) { bits } else { bits * ROOM_PERCENT / 100 };
        needed <= budget
    };
    (0..=largest).rev().find(|place| carried(*place)).unwrap_or(0)
}

/// Whether a picture of this size is large enough for the view.
fn covers((width, height): (u32, u32), view: View) -> bool {
    u64::from(width) * STRETCH_PERCENT >= u64::from(view.width) * 100
        || u64::from(height) * STRETCH_PERCENT >= u64::from(view.height) * 100
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: [Seen; 3] = [
        Seen { size: Some((320, 180)), bits_per_s: 150_000 },
        Seen { size: Some((640, 360)), bits_per_s: 500_000 },
        Seen { size: Some((1280, 720)), bits_per_s: 1_500_000 },
    ];

    fn wish(width: u32, height: u32) -> Wish {
        Wish { view: Some(View { width, height }), budget: None, shed: Shed::Nothing, current: None }
    }

    #[test]
    fn a_tile_gets_the_smallest_layer_that_fills_it() {
        assert_eq!(choose(&LAYERS, wish(160, 90)).layer, Some(0));
        assert_eq!(choose(&LAYERS, wish(390, 220)).layer, Some(0), "a little larger is not seen");
        assert_eq!(choose(&LAYERS, wish(600, 340)).layer, Some(1));
        assert_eq!(choose(&LAYERS, wish(2_560, 1_440)).layer, Some(2), "the best there is");
        assert_eq!(choose(&LAYERS, Wish { view: None, ..wish(1, 1) }).layer, Some(2), "who never said");
        assert_eq!(choose(&LAYERS, wish(0, 0)).layer, None);
        assert_eq!(choose(&LAYERS, wish(640, 0)).layer, None);
    }

    #[test]
    fn the_order_of_the_offer_is_not_that_of_the_sizes() {
        let reversed = [LAYERS[2], LAYERS[1], LAYERS[0]];
        assert_eq!(choose(&reversed, wish(160, 90)).layer, Some(2));
        let unsized_layers = reversed.map(|layer| Seen { size: None, ..layer });
        assert_eq!(choose(&unsized_layers, wish(4_000, 4_000)).layer, Some(0), "the rate tells the large one");
        assert_eq!(choose(&unsized_layers, wish(600, 340)).layer, Some(1), "and the others are halves of it");
    }

    #[test]
    fn a_narrow_path_gets_what_it_carries_and_a_wider_one_more_only_with_room_to_spare() {
        let on = |budget, current| choose(&LAYERS, Wish { budget: Some(budget), current, ..wish(1_280, 720) });
        assert_eq!(on(100_000, None).layer, Some(0), "the smallest rather than none");
        assert_eq!(on(510_000, Some(0)).layer, Some(0), "not on the edge");
        assert_eq!(on(510_000, Some(1)).layer, Some(1), "but kept there");
        assert_eq!(on(490_000, Some(1)).layer, Some(0));
        assert_eq!(on(600_000, Some(0)).layer, Some(1));
        assert_eq!(on(600_000, Some(0)).next_bits_per_s, Some(1_500_000));
        assert_eq!(on(2_000_000, Some(1)).layer, Some(2));
        assert_eq!(on(2_000_000, Some(1)).next_bits_per_s, None);
        assert_eq!(on(600_000, Some(0)).wanted_bits_per_s, 1_500_000);
    }

    #[test]
    fn a_layer_that_its_publisher_paused_is_not_waited_for() {
        let mut layers = LAYERS;
        layers[2].bits_per_s = 0;
        assert_eq!(choose(&layers, wish(1_280, 720)).layer, Some(1));
        let silent = LAYERS.map(|layer| Seen { bits_per_s: 0, ..layer });
        assert_eq!(choose(&silent, wish(1_280, 720)).layer, Some(0));
        assert_eq!(choose(&silent, Wish { current: Some(2), ..wish(1_280, 720) }).layer, Some(2));
    }

    #[test]
    fn under_load_large_layers_go_first_and_video_before_sound() {
        let under = |shed| choose(&LAYERS, Wish { shed, ..wish(1_280, 720) }).layer;
        assert_eq!([under(Shed::Nothing), under(Shed::LargeLayers), under(Shed::Video)], [Some(2), Some(0), None]);
        assert!(Shed::Video < Shed::All);
    }
}
