"""Words that name a finding: no operator moves one, leaves one out or brings one in, and the guard follows what is said of each."""

from diagnosis.text.context import WORD

# Symptoms, signs and diseases in common notes, in the forms in which they are written. A word too many costs a little freedom.
_WORDS = (
    "abscess abscesses ache aches aching acne adenopathy aids allergic allergies allergy alopecia anaemia anemia anemic aneurysm "
    "angina anorexia anxiety anxious apnea appendicitis arrhythmia arrhythmias arthralgia arthralgias arthritis ascites asthma "
    "ataxia atherosclerosis atrophy bleed bleeding bleeds blister blisters blood bloody blurred blurry bradycardia breakdown "
    "breathing breathless breathlessness bronchitis bruise bruises bruising bruit bruits burn burning burns cachexia calcification "
    "calculi calculus cancer cancers carcinoma cardiomegaly cardiomyopathy carditis cataract cataracts cellulitis chill chills "
    "cholecystitis cholelithiasis cirrhosis claudication clot clots clubbing cold coma confused confusion congestion consolidation "
    "constipated constipation contusion convulsion convulsions cough coughing coughs cramp cramping cramps crackles cyanosis "
    "cyanotic cyst cystitis cysts dead death deaths dehydrated dehydration delirium dementia depressed depression dermatitis "
    "diabetes diabetic diaphoresis diaphoretic diarrhea diarrhoea discharge disease diseases disorder disorders distended "
    "distention distress diverticulitis diverticulosis dizziness dizzy dysfunction dysmenorrhea dyspepsia dysphagia dyspnea "
    "dyspnoea dysuria ecchymosis eczema edema edematous effusion effusions embolism embolus emesis emphysema encephalopathy "
    "epilepsy epistaxis erythema erythematous exudate exudates failure faint fainted fainting fall falls fatigue fatigued febrile "
    "fever fevers fibrillation fibrosis fistula flu flutter fracture fractured fractures gallop gallops gallstones gangrene "
    "gastritis gastroenteritis gerd glaucoma goiter gout guarding hallucination hallucinations headache headaches heartburn "
    "hematemesis hematochezia hematoma hematuria hemoptysis hemorrhage hemorrhages hemorrhoids hepatitis hepatomegaly "
    "hepatosplenomegaly hernia hernias herniation herpes hives hoarseness hypercholesterolemia hyperglycemia hyperlipidemia "
    "hyperplasia hypertension hypertensive hyperthyroidism hypertrophy hypoglycemia hypotension hypotensive hypothyroidism "
    "hypoxia hypoxic icterus ileus ill illness illnesses impairment incontinence indigestion infarct infarction infarctions "
    "infection infections infected infiltrate infiltrates inflammation inflamed influenza injuries injury insomnia insufficiency "
    "irregular ischemia ischemic itch itching jaundice jaundiced laceration lacerations lesion lesions lethargic lethargy leukemia "
    "leukocytosis lightheaded lightheadedness lightheadness limp lump lumps lupus lymphadenopathy lymphoma malaise malaria malignancy "
    "malignant mass masses melanoma melena meningitis metastases metastasis metastatic migraine migraines murmur murmurs myalgia "
    "myalgias myeloma nausea nauseated nauseous necrosis neoplasm nephrolithiasis neuropathy nocturia nodule nodules nosebleed "
    "nosebleeds numb numbness obese obesity obstruction obstructed occlusion odynophagia opacities opacity orthopnea osteoarthritis "
    "osteomyelitis osteoporosis otitis pain painful pains pallor palpitation palpitations pancreatitis paralysis paresis "
    "parkinson's pericarditis peritonitis pertussis petechiae pharyngitis phlegm photophobia pneumonia pneumothorax polyp polyps "
    "prolapse proteinuria pruritus psoriasis purulent pus rales rash rashes rebound redness reflux regurgitation retention rhinitis "
    "rhinorrhea rhonchi rigidity rigors rub rubs rupture ruptured scar scars schizophrenia sciatica scoliosis seizure seizures "
    "sepsis septic shock sinusitis smoker smokes smoking sneezing sore soreness sores spasm spasms sprain sputum stenosis stiff "
    "stiffness stones stridor stroke strokes suicidal sweating sweats swelling swollen syncopal syncope syndrome tachycardia "
    "tachypnea tear tears tender tenderness thirst thirsty thrombocytopenia thrombosis thrombus thyromegaly tingling tinnitus tired "
    "tiredness trauma traumatic tremor tremors tuberculosis tumor tumors tumour typhoid ulcer ulcerated ulcers unconscious "
    "unresponsive urticaria varicella varices vertigo vomited vomiting weak weakness weight wheeze wheezes wheezing wound wounds "
    # Their short forms, and the words of those that are phrases ("shortness of breath", "congestive heart failure").
    "adhd aki ards bph cad chf ckd copd cva dka dm dvt esrd gerd htn ibs mi osa pe ptsd sle sob tia uri uti "
    "artery attack attention bowel breath cardiac chest congestive coronary deficit deep difficulty gastric heart hepatic "
    "hyperactivity hyperplasia ketoacidosis kidney liver loss lung muscle obstructive periods post-traumatic prostatic pulmonary "
    "renal respiratory ringing runny sensitivity shortness sleep sleeping stools stress swallowing tarry tract transient trouble "
    "urinary urination urine vein venous"
)
FINDINGS = frozenset(_WORDS.split())


def of(words: str) -> bool:
    """Whether a phrase names a finding."""
    return any(word.lower() in FINDINGS for word in WORD.findall(words))
