/* words.js: what the page says, in English and Russian. */
const texts = {
  en: {
    skip: "To the content", board: "Board", gallery: "Gallery", casts: "Characters", models: "Models", queue: "Queue",
    close: "Close", cancel: "Cancel", enter: "Enter", token: "Token of this server", "token-title": "This server asks for a token",
    gib: "GiB", mib: "MiB", hours: "h", minutes: "min", seconds: "s", gone: "Connection lost, trying again.", back: "Connected again.",
    boards: "Boards", "new-board": "New board", untitled: "Untitled board", title: "Title", script: "Script", "put-away": "Put away",
    "put-away-sure": "Put this board away? Its pictures stay in the gallery.", play: "Play", export: "Export", settings: "Settings",
    renumber: "Renumber panels", "add-panel": "Add a panel", "insert-before": "Insert a panel before", "move-up": "Move earlier", "move-down": "Move later",
    "remove-panel": "Remove the panel", open: "Open", panel: "Panel", versions: "Versions", drag: "Drag to reorder",
    shows: "What the panel shows", "shows-hint": "A fox waves on the pier", shot: "Shot", camera: "Camera", duration: "Seconds", dialogue: "Dialogue", notes: "Notes",
    words: "Words for the model", "words-hint": "Made of shot and text when left empty", negative: "Not to be seen", seed: "Seed", "seed-hint": "by number",
    who: "Characters", "who-none": "No characters yet.", nowhere: "anywhere", left: "left", right: "right", center: "middle", top: "top", bottom: "bottom", strength: "Strength",
    more: "Dialogue, notes, seed", "not-drawn": "Not drawn yet", changed: "changed", draft: "draft", failed: "Failed", waits: "waits", starts: "begins",
    draw: "Draw", "draw-draft": "Draft", "draft-hint": "Half as large, half the steps", finish: "Finish drafts", "nothing-to-draw": "All panels are drawn.",
    "write-first": "Write what a panel shows, then press Draw.", "to-draw": ["panel to draw", "panels to draw"], "at-most": "at most", of: "of", about: "about", guess: "(a guess: nothing is measured yet)",
    fitsnot: "Does not fit into the memory allowed", needs: "needs", allowed: "allowed", instead: "What fits instead:", "start-with": "or start kadr with", planning: "Planning…",
    drawing: "Drawing", step: "step", "time-left": "left", encode: "reading the words", decode: "making the picture", cast: "looking at the references",
    style: "Style of all panels", "style-hint": "flat illustration, warm light", model: "Model", preset: "Preset", "by-machine": "by the machine", format: "Shape", width: "Width", height: "Height", steps: "Steps", guidance: "Guidance",
    sampler: "Sampler", fps: "Frames a second", timing: "Seconds of a panel", "as-chosen": "chosen in Models", "as-preset": "as the preset says", "as-model": "the model's or 16:9",
    "script-hint": "One paragraph is one panel; Fountain screenplays are understood. Notes like [[shot: wide; duration: 2.5]] set fields.", "script-apply": "Make panels of it", "script-new": "Make a board of it",
    "script-keeps": "Panels of the same number keep their pictures.", "script-open": "Open a file", "script-drop": "Drop a script or a picture here",
    "exp-pdf": "PDF to print", "exp-webp": "Animatic (WebP)", "exp-mp4": "Animatic (MP4)", "exp-sheet": "Contact sheet", "exp-srt": "Subtitles", "exp-edl": "Edit list (EDL)", "exp-fcpxml": "Final Cut Pro, DaVinci Resolve (FCPXML)",
    "exp-otio": "OpenTimelineIO", "exp-storyboarder": "Storyboarder", "exp-html": "Web page in one file", "exp-all": "All for editors, with pictures (tar)", layout: "Panels on a page", paper: "Paper", captions: "Captions", track: "as a track", burnt: "in the picture", off: "none", download: "Download", making: "Making the file…",
    "revise": "Draw another version", "from-this": "Begin from this picture", "keeps": "How far from it", "other-seed": "Another seed", "same-seed": "The same seed", paint: "Paint what is drawn again", brush: "Brush", eraser: "Eraser", clear: "Clear", "paint-hint": "Only what you paint is drawn again. With the keyboard: arrows move, space paints.",
    pick: "Use this version", picked: "In use", newest: "Use the newest", compare: "Compare with", "compare-slide": "Show more of the one or the other", previous: "Previous panel", next: "Next panel", none: "none", draw_it: "Draw",
    "drop-casts": "Drop one or more pictures of a character here, or choose them.", "choose-pictures": "Choose pictures", "cast-name": "Name", "cast-crop": "Part of the pictures", auto: "found by itself", face: "head", whole: "whole picture", "make-cast": "Make the character",
    "cast-made": "The character is being made; it waits in the queue.", "cast-exists": "Characters that panels can name", "remove-cast": "Delete the character", "remove-cast-sure": "Delete this character? Panels that name it cannot be drawn any more.", "new-cast": "A new character",
    search: "Search", "more-pictures": "Show more", again: "Take the settings", "as-panel": "As a new panel", remove: "Delete", "remove-sure": "Delete this picture for good?", "no-pictures": "No pictures yet.", "no-found": "Nothing found.", "taken": "A panel with the picture's settings was added.", "no-settings": "The picture has no settings of kadr inside.",
    "in-use": "In use", use: "Draw with this", disk: "on disk", "needs-least": "needs", "needs-all": "or, all in memory,", "draws-at": "draws", unusable: "Cannot be drawn with", unfinished: "Its download was broken off", "go-on": "Go on", pull: "Download a model", "pull-hint": "OWNER/NAME at huggingface.co", "pull-go": "Download", done: "done", cancelled: "cancelled", queued: "waits", running: "running",
    machine: "This machine", measure: "Measure", memory: "Memory", free: "free", processor: "Processor", presets: "What each preset takes here", "a-picture": "A picture", fits: "fits", recommended: "recommended",
    "queue-empty": "Nothing waits.", "first": "Draw next", "up": "Earlier", "down": "Later", "show-panel": "Go to the panel", "of-board": "board", "lately": "Lately", "new-character": "Character",
    "player-rate": "Position", pause: "Pause", "captions-on": "Captions", "no-frames": "Nothing is drawn yet.", "first-frame": "To the start",
  },
  ru: {
    skip: "К содержанию", board: "Раскадровка", gallery: "Галерея", casts: "Персонажи", models: "Модели", queue: "Очередь",
    close: "Закрыть", cancel: "Отменить", enter: "Войти", token: "Токен этого сервера", "token-title": "Сервер спрашивает токен",
    gib: "ГиБ", mib: "МиБ", hours: "ч", minutes: "мин", seconds: "с", gone: "Связь потеряна, пробую снова.", back: "Связь восстановлена.",
    boards: "Раскадровки", "new-board": "Новая раскадровка", untitled: "Без названия", title: "Название", script: "Сценарий", "put-away": "Убрать",
    "put-away-sure": "Убрать эту раскадровку? Её картинки останутся в галерее.", play: "Смотреть", export: "Сохранить как", settings: "Настройки",
    renumber: "Перенумеровать кадры", "add-panel": "Добавить кадр", "insert-before": "Вставить кадр перед этим", "move-up": "Раньше", "move-down": "Позже",
    "remove-panel": "Убрать кадр", open: "Открыть", panel: "Кадр", versions: "Варианты", drag: "Перетащите, чтобы переставить",
    shows: "Что на кадре", "shows-hint": "Лиса машет на пристани", shot: "План", camera: "Камера", duration: "Секунды", dialogue: "Реплики", notes: "Заметки",
    words: "Слова для модели", "words-hint": "Если пусто — из плана и текста", negative: "Чего не показывать", seed: "Зерно", "seed-hint": "по номеру",
    who: "Персонажи", "who-none": "Персонажей ещё нет.", nowhere: "где угодно", left: "слева", right: "справа", center: "в середине", top: "сверху", bottom: "снизу", strength: "Сила",
    more: "Реплики, заметки, зерно", "not-drawn": "Ещё не нарисован", changed: "изменён", draft: "черновик", failed: "Ошибка", waits: "ждёт", starts: "начинается",
    draw: "Рисовать", "draw-draft": "Черновик", "draft-hint": "Вдвое меньше, вдвое меньше шагов", finish: "Дорисовать черновики", "nothing-to-draw": "Все кадры нарисованы.",
    "write-first": "Напишите, что на кадре, и нажмите «Рисовать».", "to-draw": ["кадр нарисовать", "кадра нарисовать", "кадров нарисовать"], "at-most": "не больше", of: "из", about: "около", guess: "(оценка: ещё ничего не измерено)",
    fitsnot: "Не помещается в разрешённую память", needs: "нужно", allowed: "разрешено", instead: "Что поместится:", "start-with": "или запустите kadr с", planning: "Считаю…",
    drawing: "Рисуется", step: "шаг", "time-left": "осталось", encode: "читаю слова", decode: "проявляю картинку", cast: "смотрю на образцы",
    style: "Стиль всех кадров", "style-hint": "flat illustration, warm light", model: "Модель", preset: "Набор настроек", "by-machine": "по машине", format: "Формат кадра", width: "Ширина", height: "Высота", steps: "Шаги", guidance: "Сила подсказки",
    sampler: "Сэмплер", fps: "Кадров в секунду", timing: "Секунд на кадр", "as-chosen": "из «Моделей»", "as-preset": "как в наборе", "as-model": "модели или 16:9",
    "script-hint": "Один абзац — один кадр; сценарии Fountain тоже понятны. Пометки вида [[shot: wide; duration: 2.5]] задают поля.", "script-apply": "Сделать из него кадры", "script-new": "Сделать новую раскадровку",
    "script-keeps": "Кадры с тем же номером сохранят картинки.", "script-open": "Открыть файл", "script-drop": "Бросьте сюда сценарий или картинку",
    "exp-pdf": "PDF для печати", "exp-webp": "Аниматик (WebP)", "exp-mp4": "Аниматик (MP4)", "exp-sheet": "Контактный лист", "exp-srt": "Субтитры", "exp-edl": "Монтажный лист (EDL)", "exp-fcpxml": "Final Cut Pro, DaVinci Resolve (FCPXML)",
    "exp-otio": "OpenTimelineIO", "exp-storyboarder": "Storyboarder", "exp-html": "Веб-страница одним файлом", "exp-all": "Всё для монтажа, с картинками (tar)", layout: "Кадров на странице", paper: "Бумага", captions: "Титры", track: "дорожкой", burnt: "в картинке", off: "нет", download: "Скачать", making: "Готовлю файл…",
    "revise": "Нарисовать другой вариант", "from-this": "Начать с этой картинки", "keeps": "Как далеко от неё", "other-seed": "Другое зерно", "same-seed": "То же зерно", paint: "Закрасить, что перерисовать", brush: "Кисть", eraser: "Ластик", clear: "Очистить", "paint-hint": "Перерисуется только закрашенное. С клавиатуры: стрелки двигают, пробел красит.",
    pick: "Взять этот вариант", picked: "Взят", newest: "Брать новейший", compare: "Сравнить с", "compare-slide": "Показать больше одного или другого", previous: "Предыдущий кадр", next: "Следующий кадр", none: "нет", draw_it: "Рисовать",
    "drop-casts": "Бросьте сюда одну или несколько картинок персонажа или выберите их.", "choose-pictures": "Выбрать картинки", "cast-name": "Имя", "cast-crop": "Часть картинок", auto: "найти саму", face: "голова", whole: "вся картинка", "make-cast": "Сделать персонажа",
    "cast-made": "Персонаж делается; он ждёт в очереди.", "cast-exists": "Персонажи, которых можно поставить в кадр", "remove-cast": "Удалить персонажа", "remove-cast-sure": "Удалить персонажа? Кадры с ним больше нельзя будет рисовать.", "new-cast": "Новый персонаж",
    search: "Поиск", "more-pictures": "Показать ещё", again: "Взять настройки", "as-panel": "Новым кадром", remove: "Удалить", "remove-sure": "Удалить картинку насовсем?", "no-pictures": "Картинок ещё нет.", "no-found": "Ничего не найдено.", "taken": "Добавлен кадр с настройками картинки.", "no-settings": "В картинке нет настроек kadr.",
    "in-use": "Выбрана", use: "Рисовать этой", disk: "на диске", "needs-least": "нужно", "needs-all": "или, всё в памяти,", "draws-at": "рисует", unusable: "Рисовать ею нельзя", unfinished: "Загрузка оборвалась", "go-on": "Продолжить", pull: "Скачать модель", "pull-hint": "ВЛАДЕЛЕЦ/ИМЯ на huggingface.co", "pull-go": "Скачать", done: "готово", cancelled: "отменено", queued: "ждёт", running: "идёт",
    machine: "Эта машина", measure: "Измерить", memory: "Память", free: "свободно", processor: "Процессор", presets: "Сколько здесь займёт каждый набор", "a-picture": "Картинка", fits: "помещается", recommended: "советую",
    "queue-empty": "Ничего не ждёт.", "first": "Рисовать следующим", "up": "Раньше", "down": "Позже", "show-panel": "К кадру", "of-board": "раскадровка", "lately": "Недавнее", "new-character": "Персонаж",
    "player-rate": "Место", pause: "Пауза", "captions-on": "Титры", "no-frames": "Ещё ничего не нарисовано.", "first-frame": "К началу",
  },
};

export const language = (navigator.language || "en").toLowerCase().startsWith("ru") ? "ru" : "en";
export const t = (key) => texts[language][key] ?? key;

/* "3 panels": Russian has three forms. */
export function counted(n, key) {
  const forms = t(key);
  if (language === "en") return n + " " + forms[n === 1 ? 0 : 1];
  const ones = n % 10, tens = n % 100;
  return n + " " + forms[ones === 1 && tens !== 11 ? 0 : ones >= 2 && ones <= 4 && (tens < 12 || tens > 14) ? 1 : 2];
}

export const shots = language === "ru"
  ? ["общий план", "средний план", "крупный план", "wide", "medium", "close-up", "two-shot", "over the shoulder", "bird's-eye view", "low angle"]
  : ["wide", "medium", "close-up", "extreme close-up", "two-shot", "over the shoulder", "bird's-eye view", "low angle"];
export const moves = language === "ru"
  ? ["панорама влево", "панорама вправо", "наезд", "отъезд", "вверх", "вниз"]
  : ["pan left", "pan right", "tilt up", "tilt down", "push in", "pull out", "zoom in", "zoom out"];
